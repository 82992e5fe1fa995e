import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type KeyProvider, KeyRefused } from './provider.ts';

/** One provider with a key, and what a test must be able to do to it. */
export interface TestProvider {
  readonly provider: KeyProvider;
  /** Makes a new version, under which it wraps from now on. */
  rotate(): Promise<void>;
  /** Takes away what is needed to open anything that was wrapped before the last rotation. */
  retire(): Promise<void>;
  /** Makes it unreachable, and reachable again. */
  setReachable(reachable: boolean): Promise<void>;
  remove(): Promise<void>;
}

/** What the encryption of blobs relies on, whoever keeps the keys. */
export function keyProviderContract(name: string, make: () => Promise<TestProvider>): void {
  describe(`key provider contract on ${name}`, () => {
    let at: TestProvider;
    let provider: KeyProvider;
    const id = 'ab'.repeat(16);

    beforeEach(async () => {
      at = await make();
      provider = at.provider;
    });
    afterEach(() => at.remove());

    it('unwraps what it wrapped, which shows nothing of the key', async () => {
      const key = randomBytes(32);
      const wrapped = await provider.wrap(key, id);
      expect(Buffer.from(await provider.unwrap(wrapped, id))).toEqual(key);
      expect(wrapped.version).toBe(await provider.current());
      for (const encoding of ['base64', 'base64url', 'hex'] as const)
        expect(wrapped.wrapped).not.toContain(key.toString(encoding).slice(0, 20));
      expect((await provider.wrap(key, id)).wrapped).not.toBe(wrapped.wrapped);
      await provider.health();
    });

    it('wraps under its newest version after a rotation, and still unwraps what it wrapped before', async () => {
      const key = randomBytes(32);
      const before = await provider.wrap(key, id);
      await at.rotate();
      expect(await provider.current()).not.toBe(before.version);
      expect((await provider.wrap(key, id)).version).toBe(await provider.current());
      expect(Buffer.from(await provider.unwrap(before, id))).toEqual(key);
    });

    it('rewraps so that the old version can go', async () => {
      const key = randomBytes(32);
      const before = await provider.wrap(key, id);
      await at.rotate();
      const after = await provider.rewrap(before, id);
      expect(after.version).toBe(await provider.current());
      await at.retire();
      expect(Buffer.from(await provider.unwrap(after, id))).toEqual(key);
      await expect(provider.unwrap(before, id)).rejects.toThrow(KeyRefused);
      await expect(provider.rewrap(before, id)).rejects.toThrow(KeyRefused);
    });

    it('refuses what was changed', async () => {
      const wrapped = await provider.wrap(randomBytes(32), id);
      const at = wrapped.wrapped.length - 6; // within the bytes, not the padding
      const other = wrapped.wrapped[at] === 'A' ? 'B' : 'A';
      const changed = { ...wrapped, wrapped: `${wrapped.wrapped.slice(0, at)}${other}${wrapped.wrapped.slice(at + 1)}` };
      await expect(provider.unwrap(changed, id)).rejects.toThrow(KeyRefused);
      await expect(provider.unwrap({ ...wrapped, wrapped: '' }, id)).rejects.toThrow();
    });

    it('says that it cannot be reached, which is no refusal', async () => {
      const wrapped = await provider.wrap(randomBytes(32), id);
      await at.setReachable(false);
      const calls = [
        provider.health(),
        provider.current(),
        provider.wrap(randomBytes(32), id),
        provider.unwrap(wrapped, id),
        provider.rewrap(wrapped, id),
      ];
      for (const outcome of await Promise.allSettled(calls)) {
        expect(outcome.status).toBe('rejected');
        expect(outcome.status === 'rejected' && outcome.reason instanceof KeyRefused).toBe(false);
      }
      await at.setReachable(true);
      await provider.health();
      await provider.unwrap(wrapped, id);
    });
  });
}
