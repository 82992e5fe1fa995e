import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest();
const base64 = (data: Buffer | string) => Buffer.from(data).toString('base64url');

/** What a browser is asked for, as far as an authenticator looks at it. */
export interface Asked {
  readonly challenge: string;
  readonly rp?: { readonly id: string };
  readonly rpId?: string;
  readonly user?: { readonly id: string };
}

/** How an authenticator, or the page that asks it, departs from what is right. */
export interface Faults {
  readonly origin?: string;
  readonly rpId?: string;
  readonly challenge?: string;
  readonly type?: string;
  /** Presence and verification of a person; both by default. */
  readonly flags?: number;
  readonly counter?: number;
  readonly key?: KeyObject;
}

/** Just what an attestation needs of CBOR (RFC 8949): small integers, bytes, texts and maps. */
function cbor(value: number | string | Buffer | ReadonlyMap<number | string, unknown>): Buffer {
  const head = (major: number, n: number) =>
    n < 24
      ? Buffer.from([(major << 5) | n])
      : n < 256
        ? Buffer.from([(major << 5) | 24, n])
        : Buffer.from([(major << 5) | 25, n >> 8, n & 255]);
  if (typeof value === 'number') return value >= 0 ? head(0, value) : head(1, -1 - value);
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  return Buffer.concat([head(5, value.size), ...[...value].flatMap(([key, part]) => [cbor(key), cbor(part as number)])]);
}

/** A security key in software (WebAuthn level 3): one credential, ES256, attestation `none`. */
export class SoftAuthenticator {
  readonly id = base64(randomBytes(32));
  readonly #origin: string;
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  #counter = 0;
  #userHandle = '';

  constructor(origin: string) {
    this.#origin = origin;
  }

  /** What `navigator.credentials.create` gives, in its JSON form. */
  create(asked: Asked, faults: Faults = {}) {
    this.#userHandle = asked.user?.id ?? '';
    const { x = '', y = '' } = this.#keys.publicKey.export({ format: 'jwk' });
    const cose = new Map<number, unknown>([
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, Buffer.from(x, 'base64url')],
      [-3, Buffer.from(y, 'base64url')],
    ]);
    const id = Buffer.from(this.id, 'base64url');
    const credential = Buffer.concat([Buffer.alloc(16), Buffer.from([id.length >> 8, id.length & 255]), id, cbor(cose)]);
    const authData = Buffer.concat([this.#head(asked.rp?.id, faults, 0x40), credential]);
    const attestation = new Map<string, unknown>([
      ['fmt', 'none'],
      ['attStmt', new Map()],
      ['authData', authData],
    ]);
    const clientDataJSON = base64(this.#clientData('webauthn.create', asked, faults));
    return this.#credential({ clientDataJSON, attestationObject: base64(cbor(attestation)), transports: ['usb'] });
  }

  /** What `navigator.credentials.get` gives, in its JSON form. */
  get(asked: Asked, faults: Faults = {}) {
    this.#counter++;
    const authenticatorData = this.#head(asked.rpId, faults, 0);
    const clientData = this.#clientData('webauthn.get', asked, faults);
    const signature = sign('sha256', Buffer.concat([authenticatorData, sha256(clientData)]), faults.key ?? this.#keys.privateKey);
    return this.#credential({
      clientDataJSON: base64(clientData),
      authenticatorData: base64(authenticatorData),
      signature: base64(signature),
      userHandle: this.#userHandle,
    });
  }

  #credential<R extends object>(response: R) {
    return {
      id: this.id,
      rawId: this.id,
      type: 'public-key',
      authenticatorAttachment: 'cross-platform',
      clientExtensionResults: {},
      response,
    };
  }

  #head(rpId: string | undefined, { rpId: other, flags = 0x05, counter = this.#counter }: Faults, more: number): Buffer {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(counter);
    return Buffer.concat([sha256(other ?? rpId ?? ''), Buffer.from([flags | more]), count]);
  }

  #clientData(kind: string, asked: Asked, { type = kind, challenge = asked.challenge, origin = this.#origin }: Faults): string {
    return JSON.stringify({ type, challenge, origin, crossOrigin: false });
  }
}
