import { Readable } from 'node:stream';
import type { KMSClient } from '@aws-sdk/client-kms';
import type { Outbound, OutboundRequest } from '../../../platform/index.ts';
import { type KeyProvider, KeyRefused, type Wrapped } from './provider.ts';

const TIMEOUT_MS = 5000;
const ARN = /^arn:[a-z-]+:kms:([a-z0-9-]+):/;
/** Errors about what was given, not about the service: asking again changes nothing. */
const REFUSALS = new Set(['InvalidCiphertextException', 'IncorrectKeyException', 'NotFoundException', 'InvalidKeyUsageException']);

interface Options {
  readonly outbound: Outbound;
  /** ARN of a symmetric key or of an alias; or a plain id or alias, with the region in AWS_REGION. */
  readonly key: string;
  /** Of tests; otherwise AWS_ENDPOINT_URL_KMS or the region's own. */
  readonly client?: object;
}

/**
 * AWS KMS: a key that never leaves it encrypts and decrypts data keys, each bound to its id by the encryption context. The
 * version of a wrapped key is the ARN of the key; KMS keeps the material of automatic rotations itself. Needs
 * kms:Encrypt, kms:Decrypt, kms:ReEncryptFrom, kms:ReEncryptTo and kms:DescribeKey.
 */
export function openKms({ outbound, key, client: overrides = {} }: Options): KeyProvider {
  let made: Promise<{ client: KMSClient; sdk: typeof import('@aws-sdk/client-kms') }> | undefined;

  async function load() {
    const sdk = await import('@aws-sdk/client-kms');
    const region = ARN.exec(key)?.[1];
    const client = new sdk.KMSClient({
      ...(region === undefined ? {} : { region }),
      maxAttempts: 2,
      requestHandler: handlerOver(outbound),
      ...overrides,
    });
    return { client, sdk };
  }

  async function ask<T>(work: (parts: { client: KMSClient; sdk: typeof import('@aws-sdk/client-kms') }) => Promise<T>): Promise<T> {
    made ??= load().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    try {
      return await work(await made);
    } catch (error) {
      const { name } = error as Error;
      if (REFUSALS.has(name)) throw new KeyRefused(`KMS refuses: ${name}`);
      throw error;
    }
  }

  const context = (id: string) => ({ 'entrepot:data-key': id });

  function wrappedOf(version: string | undefined, ciphertext: Uint8Array | undefined): Wrapped {
    if (version === undefined || ciphertext === undefined) throw new Error('KMS gave no ciphertext');
    return { version, wrapped: Buffer.from(ciphertext).toString('base64') };
  }

  async function current(): Promise<string> {
    const { KeyMetadata: found } = await ask(({ client, sdk }) => client.send(new sdk.DescribeKeyCommand({ KeyId: key })));
    if (found?.Arn === undefined) throw new Error('KMS does not know the key');
    if (found.KeyState !== 'Enabled') throw new Error(`the key is ${found.KeyState} at KMS`);
    return found.Arn;
  }

  return {
    name: 'aws',
    current,
    wrap: (plain, id) =>
      ask(async ({ client, sdk }) => {
        const input = { KeyId: key, Plaintext: plain, EncryptionContext: context(id) };
        const { KeyId, CiphertextBlob } = await client.send(new sdk.EncryptCommand(input));
        return wrappedOf(KeyId, CiphertextBlob);
      }),
    unwrap: ({ version, wrapped }, id) =>
      ask(async ({ client, sdk }) => {
        const input = { KeyId: version, CiphertextBlob: Buffer.from(wrapped, 'base64'), EncryptionContext: context(id) };
        const { Plaintext } = await client.send(new sdk.DecryptCommand(input));
        if (Plaintext?.length !== 32) throw new KeyRefused(`data key ${id} was decrypted to something else`);
        return Plaintext;
      }),
    rewrap: ({ version, wrapped }, id) =>
      ask(async ({ client, sdk }) => {
        const input = {
          ...{ SourceKeyId: version, CiphertextBlob: Buffer.from(wrapped, 'base64'), SourceEncryptionContext: context(id) },
          ...{ DestinationKeyId: key, DestinationEncryptionContext: context(id) },
        };
        const { KeyId, CiphertextBlob } = await client.send(new sdk.ReEncryptCommand(input));
        return wrappedOf(KeyId, CiphertextBlob);
      }),
    health: async () => void (await current()),
  };
}

interface SdkRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: unknown;
}

/** The SDK's requests through the one way out, which checks where they lead. */
function handlerOver(outbound: Outbound) {
  return {
    async handle({ protocol, hostname, port, path, method, headers, body }: SdkRequest) {
      const { host: _, ...sent } = headers; // comes from the address
      const response = await outbound.request(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}`, {
        method: method as NonNullable<OutboundRequest['method']>,
        headers: sent,
        ...(typeof body === 'string' || body instanceof Uint8Array ? { body } : {}),
        timeoutMs: TIMEOUT_MS,
        maxRedirects: 0,
      });
      const answered = Object.entries(response.headers).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : []));
      const bytes = await response.bytes();
      return {
        response: {
          statusCode: response.status,
          headers: Object.fromEntries(answered) as Record<string, string>,
          body: Readable.from([bytes]),
        },
      };
    },
    updateHttpClientConfig() {},
    httpHandlerConfigs: () => ({}),
  };
}
