import { readFile } from 'node:fs/promises';
import type { Outbound, OutboundResponse } from '../../../platform/index.ts';
import { type KeyProvider, KeyRefused, type Wrapped } from './provider.ts';

const TIMEOUT_MS = 5000;
const CIPHERTEXT = /^vault:v([1-9][0-9]{0,8}):[A-Za-z0-9+/=]+$/;

interface Options {
  readonly outbound: Outbound;
  /** `https://vault.example.com:8200/v1/transit/keys/entrepot`: the mount may have another name. */
  readonly key: string;
  /** File with a token and nothing else; read for each call, as agents renew it. */
  readonly tokenFile: string;
  /** Namespace of the key, empty for none. */
  readonly namespace: string;
}

/**
 * The transit engine of HashiCorp Vault or OpenBao, which encrypts and decrypts data keys under a key that never leaves it.
 * The token needs `update` on `encrypt/`, `decrypt/` and `rewrap/` of the key, and `read` on `keys/`.
 */
export function openVault({ outbound, key, tokenFile, namespace }: Options): KeyProvider {
  const at = key.lastIndexOf('/keys/');
  const mount = key.slice(0, at);
  const name = key.slice(at + '/keys/'.length);

  async function call(what: 'encrypt' | 'decrypt' | 'rewrap' | 'keys', body?: unknown): Promise<Record<string, unknown>> {
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const response = await outbound.request(`${mount}/${what}/${name}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        'X-Vault-Token': token,
        'X-Vault-Request': 'true',
        ...(namespace === '' ? {} : { 'X-Vault-Namespace': namespace }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeoutMs: TIMEOUT_MS,
      maxRedirects: 1, // a standby sends on to the active node
    });
    return await dataOf(response, what);
  }

  function wrappedIn({ ciphertext }: Record<string, unknown>): Wrapped {
    const [, version] = (typeof ciphertext === 'string' && CIPHERTEXT.exec(ciphertext)) || [];
    if (version === undefined) throw new Error('the transit engine gave no ciphertext');
    return { version, wrapped: ciphertext as string };
  }

  async function current(): Promise<string> {
    const { latest_version: version } = await call('keys');
    if (!Number.isSafeInteger(version)) throw new Error('the transit engine tells no version of the key');
    return String(version);
  }

  return {
    name: 'vault',
    current,
    wrap: async (plain) => wrappedIn(await call('encrypt', { plaintext: Buffer.from(plain).toString('base64') })),
    async unwrap({ wrapped }, id) {
      const { plaintext } = await call('decrypt', { ciphertext: wrapped });
      const plain = Buffer.from(typeof plaintext === 'string' ? plaintext : '', 'base64');
      if (plain.length !== 32) throw new KeyRefused(`data key ${id} was decrypted to something else`);
      return plain;
    },
    rewrap: async ({ wrapped }) => wrappedIn(await call('rewrap', { ciphertext: wrapped })),
    health: async () => void (await current()),
  };
}

/** What the engine answers; its errors are told by status only, as their text comes from outside. */
async function dataOf(response: OutboundResponse, what: string): Promise<Record<string, unknown>> {
  const bytes = await response.bytes();
  if (response.status === 400 && (what === 'decrypt' || what === 'rewrap')) {
    throw new KeyRefused('the transit engine refuses a data key: of another key, or of a version below min_decryption_version');
  }
  if (response.status !== 200) throw new Error(`the transit engine answered ${response.status} to ${what}`);
  const { data } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { data?: Record<string, unknown> | null };
  if (typeof data !== 'object' || data === null) throw new Error(`the transit engine answered ${what} without data`);
  return data;
}
