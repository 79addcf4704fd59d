import { writeFile } from "node:fs/promises";
import { colors, type Line, lineChart, smoothed } from "./charts.ts";
import type { LayerHistory, PreActivationProbe, TrainingRecord } from "./recorder.ts";
import type { TrapOutcome } from "./scenes/trap.ts";
import { accuracyTitles, type TruthRow } from "./scenes/truth-table.ts";
import type { Result, TrainedPair } from "./scenes/two-networks.ts";
import type { Settings } from "./settings.ts";
import { clock, percent, seconds } from "./terminal.ts";

export interface ReportInput {
  readonly settings: Settings;
  readonly pair: TrainedPair;
  readonly rows: readonly TruthRow[];
  readonly trap: TrapOutcome;
  readonly machine: string;
  readonly ms: number;
}

const style = `
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; }
  table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
  th, td { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: .3rem .7rem; text-align: left; }
  .charts { display: flex; flex-wrap: wrap; gap: 1rem; } .charts svg { max-width: 100%; height: auto; }
  .note { opacity: .75; font-size: .9em; }`;

/** Writes everything a run found as one HTML file that needs no network and runs no script. */
export async function writeReport(path: string, input: ReportInput): Promise<void> {
  const { settings, pair, rows, trap, machine, ms } = input;
  const { sizes, seed } = settings;
  const note = settings.isQuick
    ? "<p><strong>This was a shortened run on fewer images: the figures differ from those of a full one.</strong></p>"
    : "";
  const body = [
    "<h1>Batch norm on MNIST</h1>",
    `<p>Two convolutional networks with the same weights at the start, one of them with batch norm between each convolution and its
      activation. ${sizes.epochs} passes over ${sizes.trainImages} images of handwritten digits, batch 128, SGD with momentum 0.9.</p>`,
    note,
    trainingSection(pair.results),
    statisticsSection(pair.record.statistics.layers),
    spreadSection(pair.record),
    truthSection(rows),
    trapSection(trap),
    `<p class="note">Seed ${seed}, ${machine}, ${clock(ms)} in all.</p>`,
  ].join("\n");
  await writeFile(path, page(body));
}

function page(body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Batch norm on MNIST</title>
<style>${style}
</style>
</head>
<body>
${body}
</body>
</html>
`;
}

function section(title: string, ...parts: readonly string[]): string {
  return `<section>\n<h2>${title}</h2>\n${parts.join("\n")}\n</section>`;
}

function charts(...svgs: readonly string[]): string {
  return `<div class="charts">\n${svgs.join("\n")}\n</div>`;
}

function htmlTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]) =>
    `<tr>${row.map((cell) => `<${tag}>${cell}</${tag}>`).join("")}</tr>`;
  return `<table>\n${[cells("th", header), ...rows.map((row) => cells("td", row))].join("\n")}\n</table>`;
}

function trainingSection(results: readonly Result[]): string {
  const rates = [...new Set(results.map(({ lr }) => lr))];
  const plots = rates.map((lr) => {
    const lines = results.filter((result) => result.lr === lr).map(lossLine);
    return lineChart(lines, {
      ...{ title: `Loss at learning rate ${lr}`, yName: "loss", yScale: "log" },
      ...{ width: 460, height: 320 },
    });
  });
  return section(
    "How well, and how fast they learn",
    `<p>The loss says how surprised a network is by the right answers; 2.3 is pure guessing among ten digits. With batch norm it
      falls sooner. The second plot shows a learning rate ten times higher: with batch norm that works, without it chance (the seed) decides whether
      the network learns at all.</p>`,
    charts(...plots),
    htmlTable(
      ["network", "learning rate", "images", "test accuracy", "time of its steps"],
      results.map(({ label, lr, epochs, images, accuracy, ms }) => [
        ...[label, String(lr), `${epochs} x ${images}`, percent(accuracy), seconds(ms)],
      ]),
    ),
    `<p class="note">Curves are averages over the last 20 steps. A curve that ends early stopped being a number.</p>`,
  );
}

function lossLine({ label, losses }: Result): Line {
  const color = label === "without" ? colors.without : colors.withBN;
  return { name: label, points: smoothed(losses, 20), color };
}

function statisticsSection(layers: readonly LayerHistory[]): string {
  const plots = layers.flatMap((layer, i) => {
    const channel = liveliestChannel(layer.runningMean);
    const pick = (history: readonly Float32Array[]) =>
      history.map((values, step) => [step + 1, values[channel]] as const);
    const both = (batch: readonly Float32Array[], running: readonly Float32Array[]): Line[] => [
      { name: "of the batch", points: pick(batch), color: colors.batch },
      { name: "running", points: pick(running), color: colors.withBN },
    ];
    const size = { width: 460, height: 280 };
    const where = `layer ${i + 1}, channel ${channel}`;
    return [
      lineChart(both(layer.batchMean, layer.runningMean), {
        ...{ title: `Mean, ${where}`, yName: "mean", ...size },
      }),
      lineChart(both(layer.batchVar, layer.runningVar), {
        ...{ title: `Variance, ${where}`, yName: "variance", ...size },
      }),
    ];
  });
  return section(
    "Two kinds of statistics",
    `<p>In training each batch is normalised with its own mean and variance (grey, and noisy). Beside that every forward pass moves
      the running ones (blue) a tenth of the way towards them; these are what evaluation uses. They start at mean 0 and
      variance 1, take a few dozen steps to arrive, and then follow the network as it changes, always a little late. For each
      layer the channel whose mean moved most is shown; variances are the unbiased ones that the layer stores.</p>`,
    charts(...plots),
  );
}

function liveliestChannel(history: readonly Float32Array[]): number {
  const ranges = Array.from(history[0] ?? [], (_, channel) => {
    const values = history.map((step) => step[channel]);
    return Math.max(...values) - Math.min(...values);
  });
  return ranges.indexOf(Math.max(...ranges));
}

function spreadSection(record: TrainingRecord): string {
  const plot = (title: string, probe: PreActivationProbe, color: string) =>
    lineChart(
      ["15 %", "50 %", "85 %"].map((name, rank) => ({
        name,
        color,
        isDashed: rank !== 1,
        points: probe.spreads.map(({ step, percentiles }) => [step, percentiles[rank]] as const),
      })),
      { title, yName: "input of one ReLU", width: 460, height: 320 },
    );
  return section(
    "What one neuron gets to see while the network learns",
    `<p>The input of one ReLU of the last block for the same 256 images, again and again: 15 % of the images lie below the lower
      dashed line, half below the solid one, 15 % above the upper dashed one. Without batch norm scale and position run off as the
      layers below change; where all lines lie below 0 the ReLU passes nothing on, and the neuron is dead for these images. With batch norm
      they stay near where they were, apart from what the layer's own weight and bias learn. This is figure 1 of the batch norm
      paper (Ioffe and Szegedy, 2015), with ReLU in place of the sigmoid.</p>`,
    charts(
      plot("With batch norm", record.withBN, colors.withBN),
      plot("Without", record.without, colors.without),
    ),
  );
}

function truthSection(rows: readonly TruthRow[]): string {
  return section(
    "What training mode and trackRunningStats really do",
    `<p>The trained network, tested in all six combinations. Statistics of the batch need a large and mixed batch; with one image, or
      with images of one class, they take away what tells the classes apart. Turning the flag off on a finished layer does not make
      evaluation use the batch: only a layer built without tracking does that. PyTorch up to 1.5 did otherwise (cited here, not run).</p>`,
    htmlTable(
      [
        "training",
        "tracking",
        "normalised with",
        "buffers",
        ...accuracyTitles,
        "PyTorch up to 1.5",
      ],
      rows.map(({ training, tracking, normalizedWith, buffers, accuracies, upTo15 }) => [
        ...[training ? "on" : "off", tracking, normalizedWith, buffers],
        ...accuracies.map((share) => (share === null ? "error" : percent(share))),
        upTo15,
      ]),
    ),
  );
}

function trapSection({ passes, drifts, before, after, repaired }: TrapOutcome): string {
  return section(
    "The trap",
    `<p>${passes} forward passes in training mode, without gradients and without an optimizer, of images fed as 0-255 instead of 0-1.
      No weight changed, yet the network was ruined: the running statistics had moved.</p>`,
    htmlTable(
      ["layer", "running mean moved by up to", "in standard deviations", "running variance times"],
      drifts.map(({ layer, mean, deviation, varianceRatio }) => [
        ...[layer, mean.toPrecision(3), (mean / deviation).toPrecision(3)],
        varianceRatio.toPrecision(3),
      ]),
    ),
    htmlTable(
      ["before", "after the passes", "after nn.updateBatchNorm on correct images"],
      [[percent(before), percent(after), percent(repaired)]],
    ),
    `<p>The first layer takes the whole blow: having divided by the batch's own spread it passes on what it always did. The cure
      is to let correct images through once more: <code>await nn.updateBatchNorm(net, loader)</code>. The prevention is
      <code>net.eval()</code> for a network that only looks.</p>`,
  );
}
