import { bytes } from "./floats";
// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { MatmulPlan } from "./matmul-plan";
import { packRuns } from "./panels";

/** Rows of b that lie this many floats apart are each in a page of memory of its own. */
const pageFloats = 1024;

/** Packs `depth` steps from step k on of a block of columns into panels of eight. */
export function packColumns(
  product: MatmulPlan,
  b: usize,
  firstColumn: i32,
  endColumn: i32,
  k: i32,
  depth: i32,
  to: usize,
): void {
  const isEven = product.bColumn === 1 && product.depthRun >= product.K;
  const isInPages = isEven && product.bDepth >= pageFloats;
  for (let n = firstColumn; n < endColumn; ) {
    const run = n / product.columnRun;
    const inRun = n - run * product.columnRun;
    const lanes = min(8, endColumn - n);
    const whole = min(endColumn - n, product.columnRun - inRun) / 8;
    const from = b + bytes(run * product.bColumnRun + inRun * product.bColumn);
    if (isInPages && whole > 1) {
      packPanels(from + bytes(k * product.bDepth), product.bDepth, depth, whole, to);
    } else if (inRun + lanes > product.columnRun) {
      packAcross(product, b + bytes(k * product.bDepth), n, lanes, depth, to);
    } else {
      packRuns(
        from,
        product.bColumn,
        product.bDepth,
        product.bRun,
        product.depthRun,
        k,
        lanes,
        depth,
        8,
        to,
      );
    }
    const panels = isInPages ? max(1, whole) : 1;
    n += 8 * panels;
    to += bytes(8 * depth * panels);
  }
}

/** Panels of columns that lie side by side, row by row, so that each page of b is visited once. */
function packPanels(from: usize, stride: i32, depth: i32, panels: i32, to: usize): void {
  const panelBytes = bytes(8 * depth);
  for (let d = 0; d < depth; d++, from += bytes(stride), to += 32) {
    let source = from;
    let target = to;
    for (const end = from + bytes(8 * panels); source < end; source += 32, target += panelBytes) {
      v128.store(target, v128.load(source));
      v128.store(target, v128.load(source, 16), 16);
    }
  }
}

/** A panel of columns that lie in several runs. */
function packAcross(
  product: MatmulPlan,
  b: usize,
  firstColumn: i32,
  lanes: i32,
  depth: i32,
  to: usize,
): void {
  if (lanes < 8) memory.fill(to, 0, bytes(8 * depth));
  for (let lane = 0; lane < lanes; lane++, to += 4) {
    const run = (firstColumn + lane) / product.columnRun;
    const inRun = firstColumn + lane - run * product.columnRun;
    let from = b + bytes(run * product.bColumnRun + inRun * product.bColumn);
    for (let step = to, end = to + bytes(8 * depth); step < end; step += 32) {
      store<f32>(step, load<f32>(from));
      from += bytes(product.bDepth);
    }
  }
}
