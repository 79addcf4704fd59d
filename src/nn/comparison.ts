/** What `nn.compare` gives, and how it reads. */
import type { Cause } from "./compare-causes.ts";
import { formatNumber } from "./compare-facts.ts";

/** One call of a layer that both models have. */
export interface ComparedLayer {
  /** Path of the layer; the model itself is "". */
  readonly name: string;
  /** Which call of this layer, from 1. */
  readonly call: number;
  /** Name of A's class. */
  readonly kind: string;
  /** Largest difference of an element; infinite where one is NaN and the other is not, and for different shapes. */
  readonly largest: number;
  /** The same over the root mean square of A's output. */
  readonly relative: number;
  /** The relative difference of what the layer was given. */
  readonly inputRelative: number;
  /** What `relative` may be. */
  readonly tolerance: number;
  /** Whether it is within the tolerance. */
  readonly agrees: boolean;
  /** What the figures do not tell: other shapes, NaN on one side. Most often empty. */
  readonly remark: string;
}

/** Two models side by side; as text, a report. */
export interface Comparison {
  /** Whether everything in `layers` agrees. */
  readonly agrees: boolean;
  /** Every call of layers without submodules, in A's order of execution, and of the model itself. */
  readonly layers: readonly ComparedLayer[];
  /** The first that does not agree. */
  readonly parting: ComparedLayer | null;
  /** Why it does not, the cause that explains most first. */
  readonly causes: readonly Cause[];
  /** In what the layers of the models differ, all together, whether it matters for this input or not. */
  readonly differences: readonly string[];
  /** Layers that ran in A and have no partner of their name in B. */
  readonly onlyInA: readonly string[];
  /** The other way round. */
  readonly onlyInB: readonly string[];
  /** The report. */
  toString(): string;
}

type Content = Omit<Comparison, "toString">;

/** The report: the verdict, the figures of the layers around the parting, causes, what to do. */
export function formatComparison(content: Content): string {
  const { parting, layers, differences, onlyInA, onlyInB } = content;
  return [
    ...verdict(content),
    ...(parting === null ? [] : [...table(layers, parting), ...causeLines(content)]),
    ...section(
      "differences between layers of one name, whether they matter here or not",
      differences,
    ),
    ...section("ran in A only", onlyInA),
    ...section("ran in B only", onlyInB),
  ].join("\n");
}

function verdict({ parting, layers }: Content): string[] {
  if (parting === null) {
    const most = Math.max(...layers.map(({ relative }) => relative));
    return [
      `no difference: ${layers.length} calls agree, the worst to ${formatNumber(most)} of its scale`,
    ];
  }
  const part = `${formatNumber(parting.relative)} of its scale, tolerance ${formatNumber(parting.tolerance)}`;
  return [`the models part at ${title(parting)}: by ${formatNumber(parting.largest)} (${part})`];
}

function title({ name, call, kind }: ComparedLayer): string {
  const place = name === "" ? `the model's own output (${kind})` : `${name} (${kind})`;
  return call === 1 ? place : `${place}, call ${call}`;
}

/** Layers shown before and behind the parting: what leads there, and whether the difference grows or dies. */
const neighbours = { before: 3, behind: 8 } as const;

function table(layers: readonly ComparedLayer[], parting: ComparedLayer): string[] {
  const at = layers.indexOf(parting);
  const shown = layers.slice(Math.max(0, at - neighbours.before), at + 1 + neighbours.behind);
  const rows = [
    ["", "layer", "largest", "relative", "of its input", ""],
    ...shown.map((layer) => [
      layer.agrees ? " " : "*",
      title(layer),
      ...[layer.largest, layer.relative, layer.inputRelative].map(formatNumber),
      layer.remark,
    ]),
  ];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) =>
        column >= 2 && column <= 4 ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
      )
      .join("  ")
      .trimEnd(),
  );
  const last = layers[layers.length - 1];
  return shown.includes(last)
    ? lines
    : [...lines, `   ... ${title(last)}: relative ${formatNumber(last.relative)}`];
}

function causeLines({ causes }: Content): string[] {
  const lines = causes.map(({ what, detail, explains, remedy }) => {
    const part = explains === null ? "not tried" : `explains ${percent(explains)}`;
    return `${what}: ${detail}; ${part}${explains === 0 ? "" : ` -> ${remedy}`}`;
  });
  return section("causes, each tried alone", lines);
}

/** Rounded down: all is only what leaves nothing. */
function percent(part: number): string {
  return `${Math.floor(part * 1000) / 10} %`;
}

function section(heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${heading}:`, ...lines.map((line) => `  ${line}`)];
}
