/** Zip archives of stored files for tests, sound or with lies about the first file. */

import { crc32 } from "node:zlib";

export interface ZipChanges {
  /** Of the content once inflated. */
  readonly crc?: number;
  readonly size?: number;
  readonly packed?: number;
  readonly flags?: number;
  readonly method?: number;
  readonly centralName?: string;
  readonly headerAt?: number;
  readonly count?: number;
  readonly directoryAt?: number;
  readonly disk?: number;
}

export function makeZip(
  files: Readonly<Record<string, Uint8Array>>,
  changes: ZipChanges = {},
): Uint8Array<ArrayBuffer> {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let at = 0;
  for (const [i, [name, content]] of Object.entries(files).entries()) {
    const header = Buffer.alloc(30);
    header.writeUInt32LE(0x04034b50, 0);
    const { method = 0, size = content.length, crc = crc32(content) } = i === 0 ? changes : {};
    header.writeUInt16LE(method, 8);
    header.writeUInt32LE(crc, 14);
    header.writeUInt32LE(content.length, 18);
    header.writeUInt32LE(size, 22);
    header.writeUInt16LE(Buffer.byteLength(name), 26);
    const local = Buffer.concat([header, Buffer.from(name), content]);
    locals.push(local);
    centrals.push(central(name, content, { headerAt: at, ...(i === 0 ? changes : {}) }));
    at += local.length;
  }
  const directory = Buffer.concat(centrals);
  const { count = centrals.length, directoryAt = at, disk = 0 } = changes;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(disk, 4);
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(directoryAt, 16);
  return Uint8Array.from(Buffer.concat([...locals, directory, end]));
}

function central(name: string, content: Uint8Array, changes: ZipChanges): Buffer {
  const { length } = content;
  const { flags = 0, method = 0, packed = length, size = length, crc = crc32(content) } = changes;
  const { centralName = name, headerAt = 0 } = changes;
  const record = Buffer.alloc(46);
  record.writeUInt32LE(0x02014b50, 0);
  record.writeUInt16LE(flags, 8);
  record.writeUInt16LE(method, 10);
  record.writeUInt32LE(crc, 16);
  record.writeUInt32LE(packed, 20);
  record.writeUInt32LE(size, 24);
  record.writeUInt16LE(Buffer.byteLength(centralName), 28);
  record.writeUInt32LE(headerAt, 42);
  return Buffer.concat([record, Buffer.from(centralName)]);
}
