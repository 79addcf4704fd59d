/** Runs that tools/record.py recorded (test/fixtures/replay.py), run again by the right network and by broken ones. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readRecording } from "../src/cli/recording.ts";
import { replay } from "../src/cli/replay-run.ts";
import { shadowOf } from "../src/cli/replay-shadow.ts";
import { flip, getRngState, nn, type Tensor } from "../src/index.ts";
import { fixtureFolder } from "./support/fixtures.ts";

class Network extends nn.Module {
  static override readonly kind: string = "Network";
  conv1 = new nn.Conv2d(2, 4, 3, { padding: 1, bias: false });
  bn1: nn.BatchNorm2d = new nn.BatchNorm2d(4);
  act = new nn.ReLU();
  conv2 = new nn.Conv2d(4, 6, 3, { stride: 2, bias: false });
  bn2: nn.BatchNorm2d = new nn.BatchNorm2d(6, { momentum: 0.2 });
  fc = new nn.Linear(6, 3);

  forward(x: Tensor): Tensor {
    const hidden = this.act(this.bn1(this.conv1(x)));
    return this.fc(this.act(this.bn2(this.conv2(hidden))).mean([2, 3]));
  }
}

const pathOf = (name: string) => fileURLToPath(new URL(`recordings/${name}.pth`, fixtureFolder));
const recorded = (name: string) => readRecording(readFileSync(pathOf(name)));

describe("replay of a recorded run", () => {
  test.each([
    ["sgd", 3 * (7 + 1 + 6) + 14],
    ["adam", 3 * (7 + 1 + 6) + 14],
  ])("agrees in every output, loss and state: %s", async (name, count) => {
    const result = await replay(new Network(), await recorded(name));
    expect(String(result)).toContain("agrees in");
    expect(result).toMatchObject({ agrees: true, parting: null, notes: [] });
    expect(result.compared.length).toBe(count);
    const shares = result.compared.map(({ relative, tolerance }) => relative / tolerance);
    expect(Math.max(...shares)).toBeLessThan(0.5);
  });

  test("keeps to the recorded schedule", async () => {
    const recording = await recorded("sgd");
    const steps = recording.steps.map((step) => ({ ...step, groups: recording.steps[0].groups }));
    const { parting } = await replay(new Network(), { ...recording, steps });
    expect(parting).toMatchObject({ step: 3, place: "conv1" });
  });

  test.each<[string, (net: Network) => void, object, string]>([
    [
      "another eps",
      (net) => {
        net.bn2.eps = 1e-3;
      },
      { step: 1, place: "bn2" },
      "bn2 is BatchNorm2d(6, eps=0.001, momentum=0.2, affine=True, track_running_stats=True), recorded " +
        "BatchNorm2d(6, eps=1e-05, momentum=0.2, affine=True, bias=True, track_running_stats=True)",
    ],
    [
      "evaluation mode",
      (net) => void net.bn1.eval(),
      { step: 1, place: "bn1" },
      "bn1 is in evaluation, recorded in training",
    ],
    [
      "another momentum",
      (net) => {
        net.bn2.momentum = 0.1;
      },
      { step: 1, place: "bn2.running_mean after the step" },
      "momentum=0.1",
    ],
    [
      "no running statistics, in evaluation",
      (net) => {
        net.bn1 = new nn.BatchNorm2d(4, { trackRunningStats: false });
        net.bn2.eval();
      },
      { step: 1, place: "bn2" },
      "recorded keys that the model lacks: bn1.running_mean, bn1.running_var, bn1.num_batches_tracked",
    ],
    [
      "swapped channels",
      (net) => void net.conv1.registerForwardHook((_m, _a, y) => flip(y as Tensor, [1])),
      { step: 1, place: "conv1" },
      "parts at step 1, conv1: off by",
    ],
    [
      "a frozen weight",
      (net) => void net.conv2.setRequiresGrad(false),
      { step: 2, place: "conv2" },
      "parts at step 2, conv2",
    ],
  ])("names step and place of %s", async (_, spoil, parting, text) => {
    const net = new Network();
    spoil(net);
    const result = await replay(net, await recorded("sgd"));
    expect(result.agrees).toBe(false);
    expect(result.parting).toMatchObject(parting);
    expect(String(result)).toContain(text);
  });

  test("goes on from the recorded state of the optimizer", async () => {
    const run = await recorded("sgd");
    const momentumBuffer = run.initial.get("conv1.weight") ?? null;
    const state = { ...run.optimizer.state, state: { 0: { momentum_buffer: momentumBuffer } } };
    const optimizer = { ...run.optimizer, state };
    const { parting } = await replay(new Network(), { ...run, optimizer });
    expect(parting).toMatchObject({ step: 2, place: "conv1" });
  });

  test("says nothing of modes that are as recorded", async () => {
    const run = await recorded("sgd");
    const net = new Network();
    net.bn1.eval();
    const layers = { ...run.layers, bn1: { ...run.layers.bn1, training: false } };
    expect((await replay(net, { ...run, layers })).notes).toEqual([]);
  });

  test("allows each step what the steps before it have rounded", async () => {
    const { compared } = await replay(new Network(), await recorded("sgd"));
    const of = (place: string) => compared.filter((c) => c.place === place).map((c) => c.tolerance);
    const rule = 100 * 2 ** -24 * Math.SQRT2;
    of("bn1").forEach((allowed, i) => {
      expect(allowed).toBeGreaterThanOrEqual((i + 1) * rule);
      expect(allowed).toBeLessThan(10 * (i + 1) * rule);
    });
  });

  test("allows what training makes of weights that are a little off", async () => {
    const { compared } = await replay(new Network(), await recorded("adam"));
    // Adam makes whole steps of gradients near 0: beyond what the rule allows the last step of any place.
    const rule = 3 * 100 * 2 ** -24 * Math.sqrt(20);
    const magnified = compared.filter(({ tolerance }) => tolerance > rule);
    expect(magnified.map(({ step }) => step)).toContain(3);
    const first = compared.filter(({ step, place }) => step === 1 && place.startsWith("bn"));
    for (const { tolerance } of first) expect(tolerance).toBeLessThan(1e-4);
  });

  test("a shadow is off by less than 2^-18, always by the same, and leaves model and generator alone", () => {
    const net = new Network();
    const before = [...net.stateDict()].map(([key, value]) => [key, String(value)]);
    const generator = getRngState().data();
    const weightOf = (model: nn.Module) =>
      new Map(model.namedParameters()).get("conv2.weight")?.dataSync() ?? [];
    const [shadow, again] = [shadowOf(net), shadowOf(net)];
    expect([...net.stateDict()].map(([key, value]) => [key, String(value)])).toEqual(before);
    expect(getRngState().data()).toEqual(generator);
    const [own, off, same] = [net, shadow, again].map((model) =>
      Float32Array.from(weightOf(model)),
    );
    expect(off).toEqual(same);
    const shares = Array.from(own, (value, i) => Math.abs(off[i] / value - 1));
    expect(Math.max(...shares)).toBeLessThan(1.1 * 2 ** -18);
    expect(Math.max(...shares)).toBeGreaterThan(2 ** -20);
    expect(shares.filter((share) => share > 0).length).toBeGreaterThan(own.length / 2);
  });

  test("a long list of differences is cut", async () => {
    const run = await recorded("sgd");
    const others = Object.fromEntries(
      Array.from({ length: 9 }, (_, i) => [`x${i}`, run.layers.bn1]),
    );
    const layers = { ...run.layers };
    for (const name of Object.keys(layers)) layers[name] = { ...layers[name], training: false };
    const net = new Network();
    net.bn1.eps = 0.1;
    const result = await replay(net, { ...run, layers: { ...layers, ...others } });
    expect(result.notes.length).toBeGreaterThan(6);
    expect(String(result)).toMatch(/and \d+ more$/);
  });

  test("measures a running mean by the deviation beside it", async () => {
    const net = new Network();
    net.bn1.momentum = 0.3;
    const run = await recorded("sgd");
    const { parting } = await replay(net, run);
    const variances = run.steps[0].buffers["bn1.running_var"].data() as Float32Array;
    const mean = variances.reduce((sum, value) => sum + value, 0) / variances.length;
    expect(parting?.place).toBe("bn1.running_mean after the step");
    expect(parting?.relative).toBeCloseTo((parting?.largest ?? 0) / Math.sqrt(mean), 6);
  });

  test("a tolerance replaces the rule", async () => {
    const net = new Network();
    net.bn2.eps = 1e-3;
    expect((await replay(net, await recorded("sgd"), { tolerance: 10 })).agrees).toBe(true);
    const strict = await replay(new Network(), await recorded("sgd"), { tolerance: 1e-12 });
    expect(strict.agrees).toBe(false);
  });

  test("refuses files of something else, and losses, optimizers and options that it does not know", async () => {
    const other = readFileSync(new URL("torch/training.pth", fixtureFolder));
    await expect(readRecording(other)).rejects.toThrow(/no recording.*a dict "about"/);
    const run = await recorded("sgd");
    const broken = (changes: object) => replay(new Network(), { ...run, ...changes });
    await expect(broken({ loss: { name: "CTCLoss", options: {} } })).rejects.toThrow(/CTCLoss/);
    await expect(broken({ optimizer: { ...run.optimizer, name: "Lion" } })).rejects.toThrow(/Lion/);
    const steps = [{ ...run.steps[0], groups: [{ ...run.steps[0].groups[0], cautious: true }] }];
    await expect(broken({ steps })).rejects.toThrow(/cautious=true/);
  });
});

describe("the program", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "evenkeel-replay-"));
    const source = `import { nn } from ${JSON.stringify(pathToFileURL("dist/index.js").href)};
class Network extends nn.Module {
  conv1 = new nn.Conv2d(2, 4, 3, { padding: 1, bias: false });
  bn1 = new nn.BatchNorm2d(4);
  act = new nn.ReLU();
  conv2 = new nn.Conv2d(4, 6, 3, { stride: 2, bias: false });
  bn2 = new nn.BatchNorm2d(6, { momentum: 0.2, eps: EPS });
  fc = new nn.Linear(6, 3);
  forward(x) {
    return this.fc(this.act(this.bn2(this.conv2(this.act(this.bn1(this.conv1(x)))))).mean([2, 3]));
  }
}
`;
    const right = source.replace("EPS", "1e-5");
    writeFileSync(
      join(folder, "right.mjs"),
      `${right}export const createModel = () => new Network();`,
    );
    writeFileSync(
      join(folder, "wrong.mjs"),
      `${source.replace("EPS", "1e-2")}export const model = new Network();`,
    );
    writeFileSync(join(folder, "empty.mjs"), "export const net = 1;");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const run = (...args: readonly string[]) => {
    const child = spawnSync(process.execPath, ["dist/cli.js", ...args], { encoding: "utf8" });
    return { code: child.status, out: child.stdout, mistake: child.stderr };
  };

  test("exits with 0 when all agrees and with 1 where it parts", () => {
    const file = pathOf("adam");
    const right = run("replay", file, "--model", join(folder, "right.mjs"));
    expect(right).toMatchObject({ code: 0, mistake: "" });
    expect(right.out).toMatch(/adam\.pth: agrees in \d+ outputs, losses and states/);
    const wrong = run("replay", file, "--model", join(folder, "wrong.mjs"));
    expect(wrong).toMatchObject({ code: 1, mistake: "" });
    expect(wrong.out).toMatch(/adam\.pth: parts at step 1, bn2: off by .*\n {2}bn2 is BatchNorm2d/);
  });

  test.each([
    [["--help"], /^Usage: evenkeel COMMAND[\s\S]*\n {2}replay /],
    [["replay", "--help"], /^Usage: evenkeel replay FILE --model MODEL/],
  ])("%s explains itself", (args, text) => {
    const result = run(...args);
    expect(result).toMatchObject({ code: 0, mistake: "" });
    expect(result.out).toMatch(text);
  });

  test.each([
    [[], /expected a command: replay/],
    [["toString"], /got toString/],
    [["replay"], /expected one FILE, got 0/],
    [["replay", "a", "b"], /expected one FILE, got 2/],
    [["replay", "a"], /expected --model/],
    [["replay", "a", "--modle", "b"], /--modle/],
    [
      ["replay", "a", "--model", "b", "--tolerance", "x"],
      /--tolerance to be a number above 0, got x/,
    ],
    [["replay", "missing.pth", "--model", "resnet18"], /missing\.pth/],
    [["replay", pathOf("sgd"), "--model", "missing.mjs"], /cannot load .*missing\.mjs/],
    [["replay", pathOf("sgd"), "--model", "resnet18", "--num-classes", "3"], /conv1\.weight/],
  ] as const)("%j is one sentence on standard error and exit code 2", (args, text) => {
    const { code, out, mistake } = run(...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(mistake).toMatch(/^evenkeel: [^\n]+\n$/);
    expect(mistake).toMatch(text);
  });

  test("a file without a model is a mistake", () => {
    const { code, mistake } = run("replay", pathOf("sgd"), "--model", join(folder, "empty.mjs"));
    expect(code).toBe(2);
    expect(mistake).toMatch(/expected .*empty\.mjs to export a model/);
  });
});
