/**
 * A training run that can be killed at any moment and go on: everything that moves is in one checkpoint, written after every batch.
 * Takes the library as an argument, so that tests run it both from the sources and, in a process of its own, as it is built.
 */
import { existsSync } from "node:fs";

/**
 * @typedef {typeof import("../../src/index.ts")} Library
 *
 * @typedef {object} Run
 * @property {string} path The checkpoint, read if it is there.
 * @property {boolean} isSeeded Whether the loader has a seed of its own.
 * @property {(batches: number) => void} [afterBatch] Called with the batches done in this process, when the checkpoint is written.
 * @property {"SGD" | "Adam"} [optimizer]
 */

const epochs = 3;
const items = 23;
const side = 6;

/**
 * Trains to the end, from the checkpoint if there is one.
 * @param {Library} library
 * @param {Run} run
 */
export async function train(library, { path, isSeeded, afterBatch, optimizer = "SGD" }) {
  const { checkpoint, data, getRngState, manualSeed, nn, optim, setRngState } = library;
  manualSeed(7);
  const model = new nn.Sequential(
    new nn.Conv2d(1, 4, 3),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Dropout(0.3),
    new nn.Linear(4 * 4 * 4, 3),
  );
  const opt =
    optimizer === "SGD"
      ? new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true })
      : new optim.Adam(model.parameters(), { lr: 0.01 });
  const schedule = new optim.lrScheduler.StepLR(opt, 4, { gamma: 0.7 });
  const loader = new data.DataLoader(augmented(library), {
    ...{ batchSize: 5, shuffle: true },
    ...(isSeeded ? { seed: 11 } : {}),
  });
  const criterion = new nn.CrossEntropyLoss();
  const parts = { model, optimizer: opt, schedule, loader };
  if (existsSync(path)) {
    const saved = optim.unflattenState(await checkpoint.read(path));
    model.loadStateDict(/** @type {import("../../src/index.ts").nn.StateSource} */ (saved.model));
    opt.loadStateDict(saved.optimizer);
    schedule.loadStateDict(saved.schedule);
    loader.loadStateDict(saved.loader);
    setRngState(saved.rng);
  }
  let batches = 0;
  while (loader.stateDict().pass < epochs) {
    for await (const [x, label] of loader) {
      const loss = criterion(model(x), label);
      opt.zeroGrad();
      loss.backward();
      opt.step();
      schedule.step();
      const states = Object.entries(parts).map(([name, part]) => [name, part.stateDict()]);
      const state = { ...Object.fromEntries(states), rng: getRngState() };
      const flat = /** @type {Map<string, number>} */ (optim.flattenState(state));
      await checkpoint.write(path, flat);
      batches++;
      afterBatch?.(batches);
    }
    // After a pass, as evaluation would: draws that the next pass must find behind it.
    library.randn([3]);
  }
}

/** @param {Library} library */
function augmented({ data }) {
  const pixels = Float32Array.from({ length: items * side * side }, (_, i) => Math.sin(i * 0.37));
  const labels = Int32Array.from({ length: items }, (_, i) => i % 3);
  const images = { data: pixels, shape: [items, 1, side, side] };
  const augment = data.transforms.compose([
    data.transforms.randomCrop(side, { padding: 1 }),
    data.transforms.randomHorizontalFlip(),
  ]);
  return data.map(new data.TensorDataset(images, labels), ([image, label], random) => [
    augment(image, random),
    label,
  ]);
}
