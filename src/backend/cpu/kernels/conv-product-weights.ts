// biome-ignore lint/style/useImportType: AssemblyScript has no imports of types alone
import { ProductPlan, Variant, variantAt, weightsBefore } from "./conv-product-plan";
import { bytes } from "./floats";
import { packRuns, rowOfPanel, rowsOfPanel } from "./panels";

/**
 * Lays weights out for `convProduct`: for each variant, group, block of channels and panel of output channels their starts, then for
 * each tap their weights; missing channels are zero. Weight (group, channel, input channel, tap) is at group * groupStride +
 * channel * channelStride + input channel * inStride + kernel[tap]. A chunk is `perChunk` input channels of a group.
 */
export function convPackProduct(
  plan: usize,
  weight: usize,
  bias: usize,
  groupStride: i32,
  channelStride: i32,
  inStride: i32,
  perChunk: i32,
  chunk: i32,
  _thread: i32,
): void {
  const conv = changetype<ProductPlan>(plan);
  const perGroup = max(1, (conv.inChannels + perChunk - 1) / perChunk);
  const group = chunk / perGroup;
  const firstIn = (chunk - group * perGroup) * perChunk;
  const ins = min(perChunk, conv.inChannels - firstIn);
  const from = weight + bytes(group * groupStride + firstIn * inStride);
  const starts: usize = bias === 0 ? 0 : bias + bytes(group * conv.outChannels);
  for (let v = 0; v < conv.variants; v++) {
    packVariant(
      conv,
      variantAt(conv, v),
      from,
      starts,
      channelStride,
      inStride,
      group,
      firstIn,
      ins,
    );
  }
}

function packVariant(
  plan: ProductPlan,
  variant: Variant,
  weight: usize,
  bias: usize,
  channelStride: i32,
  inStride: i32,
  group: i32,
  firstIn: i32,
  ins: i32,
): void {
  const taps = variant.taps;
  const inBlock = firstIn % plan.channels;
  const firstOfBlock = firstIn - inBlock;
  const depth = min(plan.channels, plan.inChannels - firstOfBlock) * taps;
  const block = variant.weights + bytes(weightsBefore(plan, variant, group, firstOfBlock));
  for (let panel = 0; panel < plan.panels; panel++) {
    const first = rowOfPanel(panel, plan.sixes);
    const rows = rowsOfPanel(panel, plan.sixes);
    const channels = min(rows, plan.outChannels - first);
    const start = block + bytes(first * (depth + 1));
    if (inBlock === 0) {
      memory.fill(start, 0, bytes(rows));
      if (bias !== 0 && firstIn === 0) memory.copy(start, bias + bytes(first), bytes(channels));
    }
    const from = weight + bytes(first * channelStride);
    const to = start + bytes(rows * (1 + inBlock * taps));
    // Forward, the taps of all channels lie one behind the other.
    if (taps === inStride) {
      packRuns(from, channelStride, 1, 0, ins * taps, 0, channels, ins * taps, rows, to);
    } else packTaps(variant, from, channelStride, inStride, channels, ins, rows, to);
  }
}

function packTaps(
  variant: Variant,
  from: usize,
  channelStride: i32,
  inStride: i32,
  channels: i32,
  ins: i32,
  rows: i32,
  to: usize,
): void {
  for (let c = 0; c < ins; c++, from += bytes(inStride)) {
    for (let tap = 0; tap < variant.taps; tap++) {
      let at = from + bytes(load<i32>(variant.kernel + bytes(tap)));
      for (let i = 0; i < rows; i++, at += bytes(channelStride), to += 4) {
        store<f32>(to, i < channels ? load<f32>(at) : 0);
      }
    }
  }
}
