/** Files that torch.save never wrote: each is refused quickly, by a CheckpointError that says why. */
import { readFileSync } from "node:fs";
import { crc32, deflateRawSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { CheckpointError, checkpoint } from "../src/index.ts";
import { fixtureFolder } from "./support/fixtures.ts";
import { archive, legacy, nestedBuilders, tensorPickle, twice } from "./support/torch-pickles.ts";
import { makeZip, type ZipChanges } from "./support/zip-writer.ts";

async function failure(bytes: Uint8Array): Promise<CheckpointError> {
  const error: unknown = await checkpoint.read(bytes).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

describe("names that are not allowed", () => {
  test.each([
    ["os.system", "\x80\x02cos\nsystem\nX\x05\0\0\0rm -r\x85R.", 'os.system("rm -r")'],
    [
      "builtins.eval by STACK_GLOBAL",
      "\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
      'builtins.eval("1")',
    ],
    ["a class by NEWOBJ", "\x80\x02cmy.net\nNet\n)\x81.", "my.net.Net()"],
    ["a name as data", "\x80\x02}X\x01\0\0\0acos\nsystem\ns.", "os.system"],
    [
      "a builder of builders",
      "\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNX\x02\0\0\0ls\x85NtR.",
      'os.system("ls")',
    ],
    [
      "a name that JavaScript has",
      "\x80\x02cconstructor\nconstructor\n)R.",
      "constructor.constructor()",
    ],
  ])("%s is refused with what Python would call", async (_, pickle, call) => {
    const error = await failure(archive(pickle));
    expect(error.message).toContain(call);
    expect(error.message).toContain("no code is ever run");
    const name = call.split("(")[0].split(".").at(-1) ?? "";
    const at = Buffer.from(archive(pickle)).indexOf(name);
    expect(Math.abs(error.offset - at)).toBeLessThan(30);
  });

  test("the offset is that of the name in the file", async () => {
    const file = archive("\x80\x02cos\nsystem\n)R.");
    expect((await failure(file)).offset).toBe(Buffer.from(file).indexOf("cos\nsystem"));
  });
});

const repeated = (text: string, count: number) => text.repeat(count);

describe("hostile pickles end with a CheckpointError", () => {
  test.each<[string, string, RegExp]>([
    ["an unknown opcode", "\x80\x02\xff.", /opcode.*0xff/],
    ["another protocol", "\x80\x06N.", /protocol 2 to 5/],
    ["no end", "\x80\x02", /then the end/],
    ["a memo never made", "\x80\x02h\x05.", /memo.*number 5/],
    ["a memo of nothing", "\x80\x02q\x00.", /value on the pickle's stack/],
    ["an endless string", "\x80\x02X\xff\xff\xff\xffabc.", /4294967295 more bytes/],
    ["a string of 2^63 bytes", "\x80\x04\x8d\0\0\0\0\0\0\0\x80abc.", /more bytes/],
    ["a name without an end", `\x80\x02c${repeated("a", 5000)}`, /line of at most/],
    ["text that is not UTF-8", "\x80\x02X\x01\0\0\0\xff.", /UTF-8/],
    ["deep nesting", `\x80\x02${repeated("]", 5000)}${repeated("a", 4999)}.`, /100 levels/],
    ["many marks", `\x80\x02${repeated("(", 5000)}.`, /1000 open marks/],
    ["many values at a time", `\x80\x02(${repeated("N", 100_001)}t.`, /100000 values at a time/],
    [
      "many dicts",
      `\x80\x02]${repeated(`(${repeated("}", 1000)}e`, 201)}.`,
      /1000000 lists and dicts/,
    ],
    ["many memos", `\x80\x04N${repeated("\x94", 2_000_001)}.`, /2000000 memos/],
    ["a list that holds itself", "\x80\x02]q\x00h\x00a.", /100 levels/],
    [
      "lists that double",
      `\x80\x02]q\x000${repeated("]h\x00ah\x00aq\x000", 60)}h\x00.`,
      /repeated many/,
    ],
    ["a tensor of 2 GiB by its strides", tensorPickle({ size: -1, stride: 0 }), /by strides/],
    ["a builder in itself", nestedBuilders(20_000), /only tensors.*_rebuild_from_type_v2/],
    ["a value left over", "\x80\x02NN.", /one value/],
    ["no value", "\x80\x02.", /one value/],
    ["a key without a value", "\x80\x02}(NNNu.", /pairs/],
    ["a long number as key", "\x80\x02}\x8a\x09\0\0\0\0\0\0\0\0\x01Ns.", /as keys/],
    ["a list as key", "\x80\x02}]]aNs.", /as keys/],
    ["a number of 2^31 bytes", "\x80\x02\x8b\0\0\0\x80.", /4096 bytes/],
    ["attributes of a list", "\x80\x02]}b.", /attributes of a dict/],
    ["a call of text", "\x80\x02X\x01\0\0\0a)R.", /name to call/],
    ["an id of something else", "\x80\x02NQ.", /persistent id/],
    ["a part below a mark", "\x80\x02N(0.", /value on the pickle's stack/],
    ["two keys of one text", twice("w", "K\x07", "X\x01\0\0\x007"), /one text/],
    ["a tensor beyond its storage", tensorPickle({ size: 3 }), /reaches to 12/],
    ["a tensor that starts beyond", tensorPickle({ offset: 1 }), /reaches to 12/],
    ["a stride beyond", tensorPickle({ stride: 2 }), /reaches to 12/],
    ["a storage of another size", tensorPickle({ count: 3 }), /12 bytes.*8 in the archive/],
  ])("%s", async (_, pickle, message) => {
    const start = performance.now();
    expect((await failure(archive(pickle))).message).toMatch(message);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  test("and a sound one is read", async () => {
    const dict = await checkpoint.read(archive(tensorPickle({ size: 1, offset: 1 })));
    expect(dict.get("w")?.data()).toEqual(Float32Array.of(0));
  });

  test("a name like __proto__ is a name like others", async () => {
    const dict = await checkpoint.read(archive("\x80\x02}X\x09\0\0\0__proto__}s."));
    expect(Object.keys(dict.rest)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(dict.rest)).toBe(Object.prototype);
  });

  test("another pickle than PyTorch's is named", async () => {
    expect((await failure(Uint8Array.from([0x80, 4, 0x4e, 0x2e]))).message).toMatch(
      /a pickle of something else/,
    );
  });
});

describe("the format before 1.6", () => {
  test("takes a part of a storage for one", async () => {
    const view = "(X\x01\0\0\0vK\x01K\x01t";
    const dict = await checkpoint.read(legacy(tensorPickle({ size: 1, view })));
    expect(dict.get("w")?.data()).toEqual(Float32Array.of(6));
    const beyond = tensorPickle({ size: 2, view });
    expect((await failure(legacy(beyond))).message).toMatch(/storage of 4 bytes/);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["more behind it", legacy(tensorPickle({ view: "N" }), { after: "x" }), /1 more bytes/],
    ["another count", legacy(tensorPickle({ view: "N" }), { count: 1 }), /2 elements/],
    ["a part beyond", legacy(tensorPickle({ view: "(NK\x01K\x02t" })), /part of a storage/],
    ["a storage of no tensor", legacy("\x80\x02N."), /each storage of a tensor/],
  ])("refuses %s", async (_, bytes, message) => {
    expect((await failure(bytes)).message).toMatch(message);
  });
});

describe("archives that lie end with a CheckpointError", () => {
  const sound = tensorPickle({});

  test.each<[string, ZipChanges, RegExp]>([
    ["another size than the bytes", { size: 9000 }, /one size/],
    ["sizes beyond the file", { size: 9000, packed: 9000 }, /end before what follows it/],
    [
      "files that overlap",
      { packed: sound.length + 20, size: sound.length + 20 },
      /what follows it/,
    ],
    ["sizes of 4 GiB", { packed: 0xffffffff, size: 0xffffffff }, /missing zip64/],
    ["encryption", { flags: 1 }, /encrypted/],
    ["another compression", { method: 14 }, /method 14/],
    ["deflated bytes that are none", { method: 8 }, /inflate/],
    ["a bomb by its own words", { method: 8, size: 0xf0000000 }, /inflate to at most/],
    ["another name in the header", { centralName: "archive/data.pkk" }, /without/],
    ["a header elsewhere", { headerAt: 3 }, /what follows it/],
    ["fewer files than there are", { count: 1 }, /no such file in the archive/],
    ["more files than there are", { count: 9 }, /Central directory header/],
    ["a directory beyond", { directoryAt: 1 << 30 }, /mismatched central directory offset/],
    ["many disks", { disk: 1 }, /Split zip file/],
  ])("%s", async (_, changes, message) => {
    expect((await failure(archive(sound, changes))).message).toMatch(message);
  });

  test.each([
    ["more", -1],
    ["less", 1],
  ])("deflated bytes that are %s than said", async (_, change) => {
    const pickle = Buffer.from(sound, "latin1");
    const deflated = [...deflateRawSync(pickle)];
    const size = pickle.length;
    const crc = crc32(pickle);
    const dict = await checkpoint.read(archive(deflated, { method: 8, size, crc }));
    expect([...dict.keys()]).toEqual(["w"]);
    const error = await failure(archive(deflated, { method: 8, size: size + change, crc }));
    expect(error.message).toMatch(/to inflate/);
  });

  test("deflated bytes of another checksum", async () => {
    const pickle = Buffer.from(sound, "latin1");
    const deflated = [...deflateRawSync(pickle)];
    const file = archive(deflated, { method: 8, size: pickle.length, crc: 1 });
    expect((await failure(file)).message).toMatch(/to inflate.*CRC32/i);
  });

  test("a name that its own header has otherwise", async () => {
    const file = Buffer.from(archive(sound));
    file[file.indexOf("data.pkl")] = "D".charCodeAt(0);
    expect((await failure(file)).message).toMatch(/the header of "archive\/data\.pkl" at byte 0/);
  });

  test.each(["../data.pkl", "/etc/data.pkl", "a/../data.pkl"])("the path %s", async (name) => {
    const file = makeZip({ [name]: Buffer.from(sound, "latin1") });
    expect((await failure(file)).message).toMatch(/Unsafe filename/);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ["none of PyTorch's", { "a/readme": "hello" }, /data\.pkl.*without/],
    ["two pickles", { "a/data.pkl": "N.", "b/data.pkl": "N." }, /one data\.pkl/],
    ["a TorchScript program", { "a/data.pkl": "N.", "a/constants.pkl": "N." }, /TorchScript/],
    ["big-endian values", { "a/data.pkl": "N.", "a/byteorder": "big" }, /little-endian.*"big"/],
  ])("%s", async (_, files, message) => {
    const bytes = Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]);
    expect((await failure(makeZip(Object.fromEntries(bytes)))).message).toMatch(message);
  });

  test("big-endian values in the format before 1.6", async () => {
    const bytes = readFileSync(new URL("torch/list-legacy.pth", fixtureFolder));
    const at = bytes.indexOf("little_endian") + "little_endian".length;
    bytes[bytes.indexOf(0x88, at)] = 0x89;
    expect((await failure(bytes)).message).toMatch(/little-endian/);
  });
});
