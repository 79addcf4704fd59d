import { manualSeed, nn, type Tensor } from "evenkeel";

/** Convolution, batch norm or nothing, ReLU, pooling or nothing. */
export class Block extends nn.Module {
  static override readonly kind: string = "Block";
  readonly conv: nn.Conv2d;
  readonly norm: nn.BatchNorm2d | nn.Identity;
  readonly activation = new nn.ReLU();
  readonly pool: nn.MaxPool2d | nn.Identity;

  constructor(conv: nn.Conv2d, norm: nn.BatchNorm2d | nn.Identity, isPooled: boolean) {
    super();
    this.conv = conv;
    this.norm = norm;
    this.pool = isPooled ? new nn.MaxPool2d(2) : new nn.Identity();
  }

  /** What the activation gets: (N, channels, H, W). */
  preActivation(x: Tensor): Tensor {
    return this.norm(this.conv(x));
  }

  forward(x: Tensor): Tensor {
    return this.pool(this.activation(this.preActivation(x)));
  }
}

/** Digits from images: three blocks of 8, 16 and 32 channels and a linear layer. */
export class DigitNet extends nn.Module {
  static override readonly kind: string = "DigitNet";
  readonly blocks: Block[];
  readonly flatten = new nn.Flatten();
  readonly head = new nn.Linear(32 * 3 * 3, 10);

  constructor(makeNorm: (channels: number) => nn.BatchNorm2d | nn.Identity) {
    super();
    const block = (inChannels: number, channels: number, isPooled: boolean) => {
      const conv = new nn.Conv2d(inChannels, channels, 3);
      return new Block(conv, makeNorm(channels), isPooled);
    };
    this.blocks = [
      block(1, 8, true), // 28 x 28 -> 26 x 26 -> 13 x 13
      block(8, 16, true), // -> 11 x 11 -> 5 x 5
      block(16, 32, false), // -> 3 x 3
    ];
  }

  /** x (N, 1, 28, 28) in 0-1; returns logits (N, 10). */
  forward(x: Tensor): Tensor {
    let y = x;
    for (const block of this.blocks) y = block(y);
    return this.head(this.flatten(y));
  }

  /** The batch norm layers, first to last; none in the network without. */
  batchNorms(): nn.BatchNorm2d[] {
    return this.blocks.map(({ norm }) => norm).filter((norm) => norm instanceof nn.BatchNorm2d);
  }
}

export function netWithBatchNorm({ trackRunningStats = true } = {}): DigitNet {
  return new DigitNet((channels) => new nn.BatchNorm2d(channels, { trackRunningStats }));
}

function netWithout(): DigitNet {
  return new DigitNet(() => new nn.Identity());
}

/** A second network with the same weights and statistics, so that an experiment leaves the first alone. */
export function copyOf(net: DigitNet): DigitNet {
  const copy = net.batchNorms().length > 0 ? netWithBatchNorm() : netWithout();
  copy.loadStateDict(net.stateDict());
  return copy;
}

/** The two networks of the comparison. Batch norm draws no random numbers, so one seed gives both the same weights. */
export async function buildPair(seed: number): Promise<{ withBN: DigitNet; without: DigitNet }> {
  manualSeed(seed);
  const withBN = netWithBatchNorm();
  manualSeed(seed);
  const without = netWithout();
  const other = new Map(withBN.namedParameters());
  for (const [key, parameter] of without.namedParameters()) {
    if (!(await sameBits(parameter, other.get(key)))) {
      throw new Error(`The two networks differ in ${key}; the comparison would be unfair.`);
    }
  }
  return { withBN, without };
}

async function sameBits(a: Tensor, b: Tensor | undefined): Promise<boolean> {
  if (b === undefined) return false;
  const [first, second] = [await a.data(), await b.data()].map((values) =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength),
  );
  return first.equals(second);
}
