import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** AWS KMS, as far as it is called: JSON 1.1, keys behind one alias, encryption contexts that are authenticated. */
export interface KmsStub {
  readonly url: string;
  reachable: boolean;
  /** Operations that were asked for. */
  readonly asked: string[];
  /** Makes a new key and has the alias lead to it. */
  rotate(): void;
  /** Has all keys but the newest no more. */
  retire(): void;
  close(): Promise<void>;
}

export const KMS_ALIAS = 'arn:aws:kms:eu-west-1:111122223333:alias/entrepot';

interface Body {
  readonly KeyId?: string;
  readonly SourceKeyId?: string;
  readonly DestinationKeyId?: string;
  readonly Plaintext?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext?: Record<string, string>;
  readonly SourceEncryptionContext?: Record<string, string>;
  readonly DestinationEncryptionContext?: Record<string, string>;
}

class Refusal extends Error {
  readonly type: string;
  constructor(type: string) {
    super(type);
    this.type = type;
  }
}

export async function startKms(): Promise<KmsStub> {
  const keys = new Map<string, Buffer>();
  const asked: string[] = [];
  let newest = '';
  let reachable = true;

  function rotate(): void {
    newest = `arn:aws:kms:eu-west-1:111122223333:key/${randomBytes(16).toString('hex')}`;
    keys.set(newest, randomBytes(32));
  }
  rotate();

  function keyOf(id: string | undefined): [string, Buffer] {
    const arn = id === KMS_ALIAS ? newest : (id ?? '');
    const key = keys.get(arn);
    if (!key) throw new Refusal('NotFoundException');
    return [arn, key];
  }

  function seal(id: string | undefined, plain: Uint8Array, context: unknown): { KeyId: string; CiphertextBlob: string } {
    const [arn, key] = keyOf(id);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(JSON.stringify(context ?? {})));
    const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    return { KeyId: arn, CiphertextBlob: Buffer.concat([Buffer.from(`${arn}\n`), nonce, sealed]).toString('base64') };
  }

  function open(id: string | undefined, blob: string | undefined, context: unknown): { KeyId: string; plain: Buffer } {
    const bytes = Buffer.from(blob ?? '', 'base64');
    const line = bytes.indexOf('\n');
    if (line < 0) throw new Refusal('InvalidCiphertextException');
    const arn = bytes.toString('utf8', 0, line);
    if (id !== undefined && keyOf(id)[0] !== arn) throw new Refusal('IncorrectKeyException');
    const [, key] = keyOf(arn);
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(line + 1, line + 13))
      .setAAD(Buffer.from(JSON.stringify(context ?? {})))
      .setAuthTag(bytes.subarray(-16));
    try {
      return { KeyId: arn, plain: Buffer.concat([decipher.update(bytes.subarray(line + 13, -16)), decipher.final()]) };
    } catch {
      throw new Refusal('InvalidCiphertextException');
    }
  }

  function answerTo(operation: string, body: Body): unknown {
    switch (operation) {
      case 'Encrypt':
        return {
          ...seal(body.KeyId, Buffer.from(body.Plaintext ?? '', 'base64'), body.EncryptionContext),
          EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
        };
      case 'Decrypt': {
        const { KeyId, plain } = open(body.KeyId, body.CiphertextBlob, body.EncryptionContext);
        return { KeyId, Plaintext: plain.toString('base64'), EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' };
      }
      case 'ReEncrypt': {
        const { KeyId, plain } = open(body.SourceKeyId, body.CiphertextBlob, body.SourceEncryptionContext);
        return { ...seal(body.DestinationKeyId, plain, body.DestinationEncryptionContext), SourceKeyId: KeyId };
      }
      case 'DescribeKey': {
        const [Arn] = keyOf(body.KeyId);
        return {
          KeyMetadata: { KeyId: Arn.slice(Arn.indexOf('/') + 1), Arn, KeyState: 'Enabled', KeyUsage: 'ENCRYPT_DECRYPT', Enabled: true },
        };
      }
      default:
        throw new Refusal('UnknownOperationException');
    }
  }

  const server = createServer((request, response) => void handle(request, response).catch(() => request.socket.destroy()));

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const operation = String(request.headers['x-amz-target']).replace('TrentService.', '');
    asked.push(operation);
    if (!reachable) return void request.socket.destroy();
    let status = 200;
    let answer: unknown;
    try {
      const body = await readJson(request);
      if (!String(request.headers.authorization).startsWith('AWS4-HMAC-SHA256 Credential='))
        throw new Refusal('MissingAuthenticationTokenException');
      answer = answerTo(operation, body);
    } catch (error) {
      status = 400;
      answer = { __type: error instanceof Refusal ? error.type : 'ValidationException', message: 'of the stub' };
    }
    const text = JSON.stringify(answer);
    response.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.1', 'Content-Length': Buffer.byteLength(text) }).end(text);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get reachable() {
      return reachable;
    },
    set reachable(value) {
      reachable = value;
      server.closeAllConnections();
    },
    asked,
    rotate,
    retire() {
      for (const arn of keys.keys()) if (arn !== newest) keys.delete(arn);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readJson(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Body;
}
