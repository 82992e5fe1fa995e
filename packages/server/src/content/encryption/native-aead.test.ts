import { expect, it } from 'vitest';
import { isSound, loadNativeAead } from './native-aead.ts';
import { nodeAead } from './records.ts';

const native = await loadNativeAead();

it.skipIf(process.platform !== 'linux')('the cipher is called without node around it here', () => {
  expect(native).toBeDefined();
});

it('a cipher is only used where it does what node does', () => {
  expect(isSound(nodeAead)).toBe(true);
  for (const wrong of [
    { ...nodeAead, open: () => true },
    { ...nodeAead, open: () => false },
    { ...nodeAead, seal: () => undefined },
    // Tags of another context would let records move between blobs.
    {
      ...nodeAead,
      seal: (key: Uint8Array, nonce: Uint8Array, _: Uint8Array, content: Uint8Array, to: Uint8Array) =>
        nodeAead.seal(key, nonce, Buffer.alloc(0), content, to),
    },
  ]) {
    expect(isSound(wrong)).toBe(false);
  }
});

it('goes on after a record that it refused', () => {
  if (!native) return;
  const [key, nonce, context] = [Buffer.alloc(32, 1), Buffer.alloc(12, 2), Buffer.alloc(32, 3)];
  const sealed = new Uint8Array(116);
  native.seal(key, nonce, context, Buffer.alloc(100, 4), sealed);
  const opened = new Uint8Array(100);
  expect(native.open(Buffer.alloc(32), nonce, context, sealed, opened)).toBe(false);
  expect(native.open(key, nonce, context, sealed, opened)).toBe(true);
  expect(Buffer.from(opened).equals(Buffer.alloc(100, 4))).toBe(true);
  expect(() => native.open(key, nonce, context, sealed, new Uint8Array(99))).toThrow();
  expect(() => native.seal(key, nonce, context, new Uint8Array(100), new Uint8Array(115))).toThrow();
});
