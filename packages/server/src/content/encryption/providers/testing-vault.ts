import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The transit engine of Vault and OpenBao, as far as it is called: one AES-256-GCM key with versions, tokens, namespaces. */
export interface VaultStub {
  readonly url: string;
  readonly key: string;
  token: string;
  namespace: string;
  minDecryptionVersion: number;
  reachable: boolean;
  /** Paths that were asked for. */
  readonly asked: string[];
  rotate(): void;
  close(): Promise<void>;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export async function startVault(): Promise<VaultStub> {
  const versions = [randomBytes(32)];
  const asked: string[] = [];
  let reachable = true;
  const server = createServer((request, response) => void handle(request, response).catch(() => request.socket.destroy()));

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    asked.push(`${request.method} ${request.url}`);
    if (!stub.reachable) return void request.socket.destroy();
    const answer = (status: number, body: unknown) => {
      const text = JSON.stringify(body);
      response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }).end(text);
    };
    const refuse = (status: number, text: string) => answer(status, { errors: [text] });
    const body = await readJson(request);
    if (request.headers['x-vault-token'] !== stub.token) return refuse(403, 'permission denied');
    if ((request.headers['x-vault-namespace'] ?? '') !== stub.namespace) return refuse(403, 'permission denied');
    if (request.headers['x-vault-request'] !== 'true') return refuse(412, 'missing X-Vault-Request');
    const [, what, name] = /^\/v1\/transit\/(encrypt|decrypt|rewrap|keys)\/([^/]+)$/.exec(request.url ?? '') ?? [];
    if (what === undefined) return refuse(404, 'no handler for route');
    if (name !== 'entrepot') return what === 'keys' ? refuse(404, '') : refuse(400, 'encryption key not found');
    const data = (value: unknown) => answer(200, { request_id: 'x', lease_id: '', renewable: false, data: value });
    try {
      if (what === 'keys') {
        return data({ name, type: 'aes256-gcm96', latest_version: versions.length, min_decryption_version: stub.minDecryptionVersion });
      }
      if (what === 'encrypt') return data({ ciphertext: seal(Buffer.from(body.plaintext ?? '', 'base64')), key_version: versions.length });
      const plain = open(body.ciphertext ?? '');
      if (what === 'decrypt') return data({ plaintext: plain.toString('base64') });
      return data({ ciphertext: seal(plain), key_version: versions.length });
    } catch (error) {
      return refuse(400, (error as Error).message);
    }
  }

  function seal(plain: Uint8Array): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', versions.at(-1) ?? Buffer.alloc(0), nonce);
    const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    return `vault:v${versions.length}:${sealed.toString('base64')}`;
  }

  function open(ciphertext: string): Buffer {
    const [, version, text] = /^vault:v([0-9]+):(.+)$/.exec(ciphertext) ?? [];
    if (version === undefined || text === undefined) throw new Error('invalid ciphertext: no prefix');
    if (Number(version) < stub.minDecryptionVersion) throw new Error('ciphertext or signature version is disallowed by policy (too old)');
    const key = versions[Number(version) - 1];
    if (!key) throw new Error('invalid ciphertext: version is too new');
    const bytes = Buffer.from(text, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES)).setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch {
      throw new Error('invalid ciphertext: unable to decrypt');
    }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stub: VaultStub = {
    url,
    key: `${url}/v1/transit/keys/entrepot`,
    token: 'hvs.a-token-of-the-test',
    namespace: '',
    minDecryptionVersion: 1,
    get reachable() {
      return reachable;
    },
    set reachable(value) {
      reachable = value;
      server.closeAllConnections();
    },
    asked,
    rotate: () => void versions.push(randomBytes(32)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return stub;
}

async function readJson(request: IncomingMessage): Promise<Record<string, string | undefined>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString('utf8')) as Record<string, string>);
}
