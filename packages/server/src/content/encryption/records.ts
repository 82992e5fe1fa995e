import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { DamagedBlob, RECORD_BYTES, SEALED_BYTES, TAG_BYTES } from './format.ts';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const KEY_BYTES = 32;

/**
 * The key of one segment. Whoever begins to seal takes a new random salt of 192 bits, so no two writers share a key, and a
 * writer counts its records up: so no pair of key and nonce is ever used for two contents, whatever is cut, resumed, taken
 * back or written by two processes at once.
 */
export function segmentKey(dataKey: Uint8Array, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', dataKey, salt, 'entrepot blob segment', KEY_BYTES));
}

/** AES-256-GCM with tags of 16 bytes behind what is sealed. */
export interface Aead {
  seal(key: Uint8Array, nonce: Uint8Array, context: Uint8Array, content: Uint8Array, to: Uint8Array): void;
  /** False where it is not what was sealed; `to` holds nothing to use then. */
  open(key: Uint8Array, nonce: Uint8Array, context: Uint8Array, sealed: Uint8Array, to: Uint8Array): boolean;
}

/** By node's own functions, which everything else is measured by. */
export const nodeAead: Aead = {
  seal(key, nonce, context, content, to) {
    const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(context);
    copyOut(cipher.update(content), to);
    cipher.final();
    to.set(cipher.getAuthTag(), content.length);
  },
  open(key, nonce, context, sealed, to) {
    const content = sealed.length - TAG_BYTES;
    const decipher = createDecipheriv(ALGORITHM, key, nonce).setAAD(context);
    // A tag in shared memory could change between here and its use.
    decipher.setAuthTag(Uint8Array.from(sealed.subarray(content)));
    copyOut(decipher.update(sealed.subarray(0, content)), to);
    try {
      decipher.final();
      return true;
    } catch {
      return false;
    }
  },
};

/** Copies what a cipher gave and frees it at once: left to the collector it costs as much as the cipher itself. */
function copyOut(given: Buffer, to: Uint8Array): void {
  to.set(given);
  const { buffer } = given;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === given.length) buffer.transfer(0);
}

/** The nonce of a record, as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): its number, and whether it is the last. */
function nonceOf(record: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce[0] = last ? 1 : 0;
  nonce.writeBigUInt64BE(BigInt(record), 4);
  return nonce;
}

interface Where {
  readonly key: Uint8Array;
  /** What is authenticated with the content. */
  readonly context: Uint8Array;
  readonly record: number;
  readonly last: boolean;
}

/** Seals the content of one record into `to`, which takes the tag too. */
export function sealRecord({ key, context, record, last }: Where, content: Uint8Array, to: Uint8Array, aead = nodeAead): void {
  aead.seal(key, nonceOf(record, last), context, content, to);
}

/** Opens one record into `to`. Throws DamagedBlob where it is not what was sealed there; `to` holds nothing to use then. */
export function openRecord({ key, context, record, last }: Where, sealed: Uint8Array, to: Uint8Array, aead = nodeAead): void {
  if (aead.open(key, nonceOf(record, last), context, sealed, to)) return;
  throw new DamagedBlob(`record ${record} of an encrypted blob is not what was written`);
}

/** Full records of one segment, from one buffer into another. */
export interface RecordsJob {
  readonly op: 'seal' | 'open';
  readonly key: Uint8Array;
  readonly header: Uint8Array;
  /** Number of the first one. */
  readonly first: number;
  readonly count: number;
}

export function runRecords(
  { op, key, header: context, first, count }: RecordsJob,
  from: Uint8Array,
  to: Uint8Array,
  aead = nodeAead,
): void {
  for (let index = 0; index < count; index++) {
    const where = { key, context, record: first + index, last: false };
    const [content, sealed] = [index * RECORD_BYTES, index * SEALED_BYTES];
    if (op === 'seal') {
      sealRecord(where, from.subarray(content, content + RECORD_BYTES), to.subarray(sealed, sealed + SEALED_BYTES), aead);
    } else {
      openRecord(where, from.subarray(sealed, sealed + SEALED_BYTES), to.subarray(content, content + RECORD_BYTES), aead);
    }
  }
}
