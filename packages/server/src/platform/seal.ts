import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Secrets that must be read again by the server, as they lie in the database. */
export interface Seal {
  /** Text for the database; `where` names its place, such as `webhook:12`, so that it opens nowhere else. */
  seal(secret: string, where: string): string;
  /** The secret of a place. Throws where the text was changed, moved, or sealed under another key. */
  open(sealed: string, where: string): string;
}

/** AES-256-GCM under a key of one purpose. Random nonces are safe for 2^32 secrets (SP 800-38D, section 8.3). */
export function createSeal(key: Uint8Array): Seal {
  return {
    seal(secret, where) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(Buffer.from(where));
      const body = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url');
    },
    open(sealed, where) {
      const bytes = Buffer.from(sealed, 'base64url');
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new Error('a sealed secret is too short');
      const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES))
        .setAAD(Buffer.from(where))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      const body = bytes.subarray(NONCE_BYTES, -TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8');
    },
  };
}
