/** The program that test/places.test.ts runs wherever the package claims to run: a short training, to the bit. */
import {
  ArgumentError,
  checkpoint,
  EvenkeelError,
  manualSeed,
  memory,
  nn,
  optim,
  randn,
  type Tensor,
  tensor,
} from "evenkeel";

export interface Outcome {
  readonly losses: readonly number[];
  readonly runningMean: readonly number[];
  readonly runningVar: readonly number[];
  /** FNV-1a over the bits of all parameters and buffers. */
  readonly checksum: string;
  readonly printed: string;
  /** Values of a tensor in a PyTorch file. */
  readonly fromTorch: readonly number[];
  readonly kinds: readonly string[];
  readonly batchNorms: number;
  readonly error: string;
  readonly threads: number;
  readonly notes: readonly string[];
}

class Net extends nn.Module {
  static override kind = "Net";
  conv = new nn.Conv2d(3, 16, 3, { padding: 1 });
  bn = new nn.BatchNorm2d(16);
  relu = new nn.ReLU();
  pool = new nn.MaxPool2d(2);
  dropout = new nn.Dropout(0.25);
  head = new nn.Sequential(new nn.Flatten(), new nn.Linear(16 * 8 * 8, 10));

  forward(x: Tensor): Tensor {
    const features = this.pool(this.relu(this.bn(this.conv(x))));
    return this.head(this.dropout(features));
  }
}

/** Trains 20 steps, on as many threads as the place gives, and tells what came of it. */
export async function train(): Promise<Outcome> {
  manualSeed(7);
  const net = new Net();
  const opt = new optim.Adam(net.parameters(), { lr: 0.01 });
  const criterion = new nn.CrossEntropyLoss();
  const x = randn([32, 3, 16, 16]);
  const label = tensor(Int32Array.from({ length: 32 }, (_, i) => i % 10));
  const losses: number[] = [];
  for (let step = 0; step < 20; step++) {
    const loss = criterion(net(x), label);
    opt.zeroGrad();
    loss.backward();
    opt.step();
    losses.push(await loss.item());
  }
  const modules = [...net.modules()];
  const { threads = 0, notes = [] } = memory().devices[0] ?? {};
  return {
    losses,
    runningMean: await numbers(net.bn.runningMean),
    runningVar: await numbers(net.bn.runningVar),
    checksum: await checksum(net),
    printed: String(net),
    fromTorch: await readTorchFile(),
    kinds: modules.map((module) => module.kind),
    batchNorms: modules.filter(nn.isBatchNorm).length,
    error: provoke(),
    threads,
    notes,
  };
}

/** What torch.save made of {"w": tensor([1.5, -2])}, its pickle compressed, in base64. */
const torchFile = [
  "UEsDBBQAAAAIAAAAIQA6uhGHkQAAAKIAAAAQAAAAYXJjaGl2ZS9kYXRhLnBrbCWMsQ6CMBRFS1HRp/4HLMT4DcalgxEXtgYfjTZp",
  "qK996GTiwuBfS2Q6yc255yPfJOpECPGiBNkHvJe6Z+si6GCuvXWtZtNFH/RzDyTzvM5GOY5mczOUThc4Ot/wZRqBZv/gjuZ1OhIf",
  "PS2UZMrOSig50FIlA62+iN45g2x9F+EUWhNMe7DIQFBUtGbaVLSN5Q9QSwMEFAAAAAAAAAAhALfv3IMBAAAAAQAAABcAAABhcmNo",
  "aXZlLy5mb3JtYXRfdmVyc2lvbjFQSwMEFAAAAAAAAAAhAIU94xkGAAAABgAAABEAAABhcmNoaXZlL2J5dGVvcmRlcmxpdHRsZVBL",
  "AwQUAAAAAAAAACEAOizfzAgAAAAIAAAADgAAAGFyY2hpdmUvZGF0YS8wAADAPwAAAMBQSwMEFAAAAAAAAAAhANGeZ1UCAAAAAgAA",
  "AA8AAABhcmNoaXZlL3ZlcnNpb24zClBLAQIUAxQAAAAIAAAAIQA6uhGHkQAAAKIAAAAQAAAAAAAAAAAAAACAAQAAAABhcmNoaXZl",
  "L2RhdGEucGtsUEsBAhQDFAAAAAAAAAAhALfv3IMBAAAAAQAAABcAAAAAAAAAAAAAAIABvwAAAGFyY2hpdmUvLmZvcm1hdF92ZXJz",
  "aW9uUEsBAhQDFAAAAAAAAAAhAIU94xkGAAAABgAAABEAAAAAAAAAAAAAAIAB9QAAAGFyY2hpdmUvYnl0ZW9yZGVyUEsBAhQDFAAA",
  "AAAAAAAhADos38wIAAAACAAAAA4AAAAAAAAAAAAAAIABKgEAAGFyY2hpdmUvZGF0YS8wUEsBAhQDFAAAAAAAAAAhANGeZ1UCAAAA",
  "AgAAAA8AAAAAAAAAAAAAAIABXgEAAGFyY2hpdmUvdmVyc2lvblBLBQYAAAAABQAFADsBAACNAQAAAAA=",
].join("");

async function readTorchFile(): Promise<number[]> {
  const bytes = Uint8Array.from(atob(torchFile), (character) => character.charCodeAt(0));
  const file = await checkpoint.open(new Blob([bytes]));
  const { data } = await file.get("w");
  return Array.from(data(), Number);
}

async function numbers(t: Tensor | null): Promise<number[]> {
  return t === null ? [] : Array.from(await t.data());
}

async function checksum(net: Net): Promise<string> {
  let hash = 0x811c9dc5;
  for (const state of [...net.parameters(), ...net.buffers()]) {
    const values = typeof state === "number" ? Float64Array.of(state) : await state.data();
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return (hash >>> 0).toString(16);
}

function provoke(): string {
  try {
    new nn.BatchNorm2d(3)(tensor([1]));
    return "nothing";
  } catch (error) {
    const isOurs = error instanceof EvenkeelError && !(error instanceof ArgumentError);
    return isOurs ? `${error.name}: ${error.message}` : `foreign ${String(error)}`;
  }
}
