import { randomBytes } from 'node:crypto';
import { TAG_BYTES } from './format.ts';
import { type Aead, nodeAead } from './records.ts';

/** Of evp.h: to read and to set the tag. */
const GET_TAG = 0x10;
const SET_TAG = 0x11;

type Bytes = Uint8Array | null;
type Init = (context: unknown, cipher: unknown, engine: null, key: Bytes, nonce: Bytes) => number;
type Update = (context: unknown, to: Bytes, length: [number], from: Uint8Array, bytes: number) => number;
type Final = (context: unknown, to: Uint8Array, length: [number]) => number;

/**
 * The cipher of the OpenSSL that node has in itself, without node around it, whose new buffer for each result costs twice
 * what the cipher does. Undefined where it cannot be called, or does not do what node's own functions do.
 */
export async function loadNativeAead(): Promise<Aead | undefined> {
  try {
    const { default: koffi } = await import('koffi');
    const library = koffi.load(null); // the process itself
    const newContext = library.func('void *EVP_CIPHER_CTX_new()') as () => unknown;
    const cipher = (library.func('void *EVP_aes_256_gcm()') as () => unknown)();
    const init = (name: string) =>
      library.func(`int ${name}(void *context, void *cipher, void *engine, const uint8_t *key, const uint8_t *nonce)`) as Init;
    const update = (name: string) =>
      library.func(`int ${name}(void *context, uint8_t *to, _Out_ int *length, const uint8_t *from, int bytes)`) as Update;
    const final = (name: string) => library.func(`int ${name}(void *context, uint8_t *to, _Out_ int *length)`) as Final;
    const control = library.func('int EVP_CIPHER_CTX_ctrl(void *context, int type, int bytes, uint8_t *pointer)') as (
      context: unknown,
      type: number,
      bytes: number,
      pointer: Uint8Array,
    ) => number;
    const sealing = {
      context: newContext(),
      init: init('EVP_EncryptInit_ex'),
      update: update('EVP_EncryptUpdate'),
      final: final('EVP_EncryptFinal_ex'),
    };
    const opening = {
      context: newContext(),
      init: init('EVP_DecryptInit_ex'),
      update: update('EVP_DecryptUpdate'),
      final: final('EVP_DecryptFinal_ex'),
    };
    const length: [number] = [0];
    const rest = new Uint8Array(TAG_BYTES);
    const tag = new Uint8Array(TAG_BYTES);

    const require = (worked: boolean): void => {
      if (!worked) throw new Error('a function of OpenSSL failed');
    };
    const start = ({ context, init: begin, update: more }: typeof sealing, key: Uint8Array, nonce: Uint8Array, also: Uint8Array) => {
      require(key.length === 32 && nonce.length === 12);
      require(begin(context, null, null, key, nonce) === 1);
      require(more(context, null, length, also, also.length) === 1);
    };
    for (const { context, init: begin } of [sealing, opening]) require(begin(context, cipher, null, null, null) === 1);

    const native: Aead = {
      seal(key, nonce, context, content, to) {
        require(to.length >= content.length + TAG_BYTES);
        start(sealing, key, nonce, context);
        require(sealing.update(sealing.context, to, length, content, content.length) === 1 && length[0] === content.length);
        require(sealing.final(sealing.context, rest, length) === 1);
        require(control(sealing.context, GET_TAG, TAG_BYTES, tag) === 1);
        to.set(tag, content.length);
      },
      open(key, nonce, context, sealed, to) {
        const content = sealed.length - TAG_BYTES;
        require(content >= 0 && to.length >= content);
        start(opening, key, nonce, context);
        require(opening.update(opening.context, to, length, sealed, content) === 1 && length[0] === content);
        tag.set(sealed.subarray(content));
        require(control(opening.context, SET_TAG, TAG_BYTES, tag) === 1);
        return opening.final(opening.context, rest, length) === 1;
      },
    };
    return isSound(native) ? native : undefined;
  } catch {
    return undefined; // an optional package that this platform lacks, or a node without these functions
  }
}

/** Whether it seals as node does, opens what node sealed, and refuses what was changed. */
export function isSound(aead: Aead): boolean {
  for (const bytes of [1, 31, 1000, 65_536]) {
    const [key, nonce, context, content] = [randomBytes(32), randomBytes(12), randomBytes(40), randomBytes(bytes)];
    const [theirs, ours, opened] = [new Uint8Array(bytes + TAG_BYTES), new Uint8Array(bytes + TAG_BYTES), new Uint8Array(bytes)];
    nodeAead.seal(key, nonce, context, content, theirs);
    aead.seal(key, nonce, context, content, ours);
    if (!Buffer.from(ours).equals(theirs)) return false;
    if (!aead.open(key, nonce, context, theirs, opened) || !Buffer.from(opened).equals(content)) return false;
    for (const place of [0, bytes, bytes + TAG_BYTES - 1]) {
      const changed = Uint8Array.from(theirs);
      changed[place] = (changed[place] ?? 0) ^ 1;
      if (aead.open(key, nonce, context, changed, opened)) return false;
    }
    if (aead.open(key, nonce, randomBytes(40), theirs, opened)) return false;
  }
  return true;
}
