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
export function sealRecord({ key, context, record, last }: Where, content: Uint8Array, to: Uint8Array): void {
  const cipher = createCipheriv(ALGORITHM, key, nonceOf(record, last)).setAAD(context);
  to.set(cipher.update(content));
  cipher.final();
  to.set(cipher.getAuthTag(), content.length);
}

/** Opens one record into `to`. Throws DamagedBlob where it is not what was sealed there; `to` holds nothing to use then. */
export function openRecord({ key, context, record, last }: Where, sealed: Uint8Array, to: Uint8Array): void {
  const content = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, nonceOf(record, last)).setAAD(context);
  // A tag in shared memory could change between here and its use.
  decipher.setAuthTag(Uint8Array.from(sealed.subarray(content)));
  to.set(decipher.update(sealed.subarray(0, content)));
  try {
    decipher.final();
  } catch {
    throw new DamagedBlob(`record ${record} of an encrypted blob is not what was written`);
  }
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

export function runRecords({ op, key, header: context, first, count }: RecordsJob, from: Uint8Array, to: Uint8Array): void {
  for (let index = 0; index < count; index++) {
    const where = { key, context, record: first + index, last: false };
    const [content, sealed] = [index * RECORD_BYTES, index * SEALED_BYTES];
    if (op === 'seal') {
      sealRecord(where, from.subarray(content, content + RECORD_BYTES), to.subarray(sealed, sealed + SEALED_BYTES));
    } else {
      openRecord(where, from.subarray(sealed, sealed + SEALED_BYTES), to.subarray(content, content + RECORD_BYTES));
    }
  }
}
