import { LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

echarts.use([LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

/** One line of a chart. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
  readonly color: string;
  readonly isDashed?: boolean;
}

export interface ChartOptions {
  readonly title: string;
  readonly yName: string;
  readonly width: number;
  readonly height: number;
  /** Default "linear". */
  readonly yScale?: "linear" | "log";
}

/** Mid-tones, readable on white and on black. */
export const colors = { withBN: "#2f81d7", without: "#d9762b", batch: "#8a94a6" } as const;

// The text colour of the page, light or dark.
const ink = { color: "currentColor" };
const faint = { lineStyle: { color: "currentColor", opacity: 0.15 } };

/** Points per line that a chart shows: more cannot be told apart at its width. */
const mostPoints = 400;

/** A line chart as SVG text, with no script in it. */
export function lineChart(lines: readonly Line[], options: ChartOptions): string {
  const { title, width, height } = options;
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  chart.setOption({
    animation: false,
    textStyle: ink,
    title: { text: title, left: "center", textStyle: { ...ink, fontSize: 14 } },
    legend: {
      ...{ bottom: 0, textStyle: ink, data: lines.map(({ name }) => name) },
      ...{ icon: "roundRect", itemWidth: 18, itemHeight: 4, itemGap: 24 },
    },
    grid: { left: 56, right: 24, top: 60, bottom: 64 },
    ...axes(options),
    series: lines.map(series),
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return accessible(withoutStyles(svg), title);
}

function axes({ yName, yScale = "linear" }: ChartOptions) {
  return {
    xAxis: {
      ...{ type: "value", max: "dataMax", axisLabel: ink, splitLine: { show: false } },
      ...{ name: "step", nameLocation: "middle", nameGap: 24, nameTextStyle: ink },
      axisLine: { lineStyle: ink, onZero: false },
    },
    yAxis: {
      ...{ type: yScale === "log" ? "log" : "value", scale: true, axisLabel: ink },
      ...{ name: yName, nameTextStyle: { ...ink, align: "left" }, splitLine: faint },
    },
  };
}

function series({ name, points, color, isDashed }: Line) {
  return {
    ...{ type: "line", name, showSymbol: false, silent: true },
    data: thinned(points).map(([x, y]) => [x, y]),
    lineStyle: { color, width: 1.6, type: isDashed ? "dashed" : "solid" },
    itemStyle: { color },
  };
}

/** Rules for pointers over a chart, which has nothing to click. */
function withoutStyles(svg: string): string {
  return svg.replace(/<style[\s\S]*?<\/style>/g, "");
}

function accessible(svg: string, title: string): string {
  return svg.replace("<svg ", `<svg role="img" aria-label="${title}" `);
}

function thinned<Point>(points: readonly Point[]): readonly Point[] {
  const stride = Math.ceil(points.length / mostPoints);
  return points.filter((_, i) => i % stride === 0 || i === points.length - 1);
}

/** A running average that follows the last `span` values, starting at the first one; values that are not finite end it. */
export function smoothed(values: readonly number[], span: number): (readonly [number, number])[] {
  const points: (readonly [number, number])[] = [];
  let average = values[0] ?? 0;
  for (const [i, value] of values.entries()) {
    if (!Number.isFinite(value)) break;
    average += (value - average) / Math.min(i + 1, span);
    points.push([i + 1, average]);
  }
  return points;
}
