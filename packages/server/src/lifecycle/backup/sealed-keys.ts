import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';

// File: magic, cost, salt, nonce, AES-256-GCM of JSON {name: base64}, tag. The key is scrypt of the passphrase (RFC 7914) at
// 2^cost, as slow as a person at a terminal bears. All before the tag is authenticated.
const MAGIC = Buffer.from('ENTREPOT-KEYS-1\n');
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const COST = 17;
/** What a file may ask for when it is opened. */
const COST_LEAST = 10;
const COST_MOST = 20;
/** Less is guessed. */
const PASSPHRASE_LEAST = 12;

export type KeyFiles = ReadonlyMap<string, Uint8Array>;

/** Seals key files by a passphrase. Throws for one that is too short. */
export function sealKeys(files: KeyFiles, passphrase: string, cost = COST): Uint8Array {
  if (passphrase.length < PASSPHRASE_LEAST) throw new Error(`a passphrase has at least ${PASSPHRASE_LEAST} characters`);
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const text = JSON.stringify(Object.fromEntries([...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')])));
  const head = Buffer.concat([MAGIC, Buffer.of(cost), salt]);
  const cipher = createCipheriv('aes-256-gcm', keyOf(passphrase, salt, cost), nonce).setAAD(head);
  return Buffer.concat([head, nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

/** Opens what `sealKeys` made. Throws where the passphrase is another, or the file was changed. */
export function openSealedKeys(sealed: Uint8Array, passphrase: string): KeyFiles {
  const bytes = Buffer.from(sealed);
  const head = MAGIC.length + 1 + SALT_BYTES;
  const body = head + NONCE_BYTES;
  if (bytes.length < body + TAG_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('the sealed keys are damaged');
  const cost = bytes.readUInt8(MAGIC.length);
  if (cost < COST_LEAST || cost > COST_MOST) throw new Error('the sealed keys are damaged');
  const decipher = createDecipheriv(
    'aes-256-gcm',
    keyOf(passphrase, bytes.subarray(MAGIC.length + 1, head), cost),
    bytes.subarray(head, body),
  )
    .setAAD(bytes.subarray(0, head))
    .setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    const text = Buffer.concat([decipher.update(bytes.subarray(body, -TAG_BYTES)), decipher.final()]).toString('utf8');
    return new Map(Object.entries(JSON.parse(text) as Record<string, string>).map(([name, value]) => [name, Buffer.from(value, 'base64')]));
  } catch (cause) {
    throw new Error('the keys cannot be opened: the passphrase is another, or the file was changed', { cause });
  }
}

function keyOf(passphrase: string, salt: Uint8Array, cost: number): Uint8Array {
  return scryptSync(passphrase, salt, 32, { N: 2 ** cost, r: 8, p: 1, maxmem: 2 ** (cost + 11) });
}
