import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createFileOnce } from '../../platform/index.ts';

const KEY_FILE = 'audit.key';

export interface AuditKeys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/**
 * Opens the Ed25519 key that signs checkpoints, making it at the first start. It lies beside the database, not in it: who owns
 * the database alone cannot sign. Refuses a file that others may read.
 */
export function openAuditKeys(folder: string): AuditKeys {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, KEY_FILE);
  if (!existsSync(path)) {
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
    createFileOnce(path, Buffer.from(pem));
  }
  return readAuditKeys(folder);
}

/** Opens the key as it is. Throws where there is none: a new one would verify nothing that was signed. */
export function readAuditKeys(folder: string): AuditKeys {
  const path = join(folder, KEY_FILE);
  if (!existsSync(path)) throw new Error(`${path}, which signed the audit trail, is missing`);
  if ((statSync(path).mode & 0o077) !== 0) throw new Error(`${path} may be read by others; run: chmod 600 ${path}`);
  const privateKey = createPrivateKey(readFileSync(path));
  return { privateKey, publicKey: createPublicKey(privateKey) };
}
