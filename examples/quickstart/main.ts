import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { checkpoint, data, EvenkeelError, memory, setThreads } from "evenkeel";
import { Interrupted, interruptedCode, listenForInterrupt } from "./interrupt.ts";
import type { DigitNet } from "./model.ts";
import { writeReport } from "./report.ts";
import { showTrap } from "./scenes/trap.ts";
import { showTruthTable } from "./scenes/truth-table.ts";
import { trainTwoNetworks } from "./scenes/two-networks.ts";
import { help, readSettings, type Settings } from "./settings.ts";
import { clock, heading, paint, say } from "./terminal.ts";

/** The network that Ctrl-C saves: the one with batch norm, from its first step on. */
let toSave: DigitNet | null = null;

async function run(settings: Settings): Promise<void> {
  const startedAt = performance.now();
  const { dataFolder, outFolder, seed, sizes, threads } = settings;
  if (threads !== null) setThreads(threads);
  const { train, test } = await data.mnist(dataFolder);
  await mkdir(outFolder, { recursive: true });

  say(paint("bold", "Batch norm on MNIST"));
  say(`  ${train.length} training and ${test.length} test images from`);
  say(`  ${dataFolder}`);
  if (settings.isQuick) {
    say(
      paint(
        "yellow",
        "  A shortened run on fewer images: the figures differ from those of a full one.",
      ),
    );
  }
  const pair = await trainTwoNetworks({
    settings,
    train,
    test,
    onNetwork: (net) => {
      toSave = net;
    },
  });
  const rows = await showTruthTable(pair.withBN, test, sizes);
  const trap = await showTrap({ settings, trained: pair.withBN, train, test });

  const weights = join(outFolder, "with-batch-norm.safetensors");
  await checkpoint.write(weights, pair.withBN.stateDict());
  await checkpoint.write(join(outFolder, "without.safetensors"), pair.without.stateDict());
  const report = join(outFolder, "report.html");
  const spent = performance.now() - startedAt;
  await writeReport(report, { settings, pair, rows, trap, machine: machineText(), ms: spent });

  heading(`Done in ${clock(spent)}, seed ${seed}, ${machineText()}`);
  printWhereAndNext({ weights, report, outFolder });
}

function machineText(): string {
  const cpu = memory().devices.find(({ device }) => device === "cpu");
  return `${cpu?.threads ?? 1} of ${availableParallelism()} threads`;
}

function printWhereAndNext(places: {
  readonly weights: string;
  readonly report: string;
  readonly outFolder: string;
}): void {
  say(`  report:  ${places.report}  (open it in a browser)`);
  say(`  weights: ${places.weights} and without.safetensors beside it`);
  say("\nThree things to try next:");
  say("  1. npm start -- --seed 2: at 0.2 the network without batch norm may get by");
  say("  2. npm start -- --data FOLDER with Fashion-MNIST: the same format, and harder");
  say("  3. npm start -- --quick with batchSize = 4 in examples/quickstart/settings.ts");
}

async function saveAfterInterrupt(settings: Settings): Promise<void> {
  if (toSave === null) {
    say("\nStopped before training began; there is nothing to save.");
    return;
  }
  const path = join(settings.outFolder, "interrupted.safetensors");
  await checkpoint.write(path, toSave.stateDict());
  const steps = toSave.batchNorms()[0].numBatchesTracked;
  say(`\nStopped. The network with batch norm, after ${steps} steps, is in ${path}`);
}

async function main(): Promise<void> {
  let settings: Settings | null;
  try {
    settings = readSettings(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${help}\n`);
    process.exitCode = 2;
    return;
  }
  if (settings === null) return say(help);
  listenForInterrupt();
  try {
    await run(settings);
  } catch (error) {
    if (error instanceof Interrupted) {
      await saveAfterInterrupt(settings);
      process.exitCode = interruptedCode;
    } else if (error instanceof EvenkeelError) {
      process.stderr.write(`${error.message}\n`);
      process.exitCode = 1;
    } else throw error;
  }
}

await main();
