import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createOutbound } from '../../../platform/index.ts';
import { openKms } from './aws-kms.ts';
import { keyProviderContract } from './contract.ts';
import { addKeyVersion, createKeyFile, openKeyFile } from './local-file.ts';
import { KeyRefused } from './provider.ts';
import { KMS_ALIAS, startKms } from './testing-kms.ts';
import { startVault } from './testing-vault.ts';
import { openVault } from './vault.ts';

const id = 'ab'.repeat(16);
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'entrepot-keys-'));
  file = join(folder, 'deep', 'encryption.keys');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const outboundTo = (outboundAllow: string) => createOutbound({ outboundAllow, outboundProxy: '', outboundCaFile: '' });

keyProviderContract('a file', async () => {
  createKeyFile(file);
  return {
    provider: openKeyFile(file),
    rotate: async () => void addKeyVersion(file),
    async retire() {
      const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
      writeFileSync(file, `${lines.at(-1)}\n`);
    },
    setReachable: async (reachable) => chmodSync(file, reachable ? 0o600 : 0o644), // one that others may read is not used
    remove: async () => undefined,
  };
});

keyProviderContract('the transit engine', async () => {
  const vault = await startVault();
  const outbound = outboundTo('127.0.0.1');
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, `${vault.token}\n`);
  return {
    provider: openVault({ outbound, key: vault.key, tokenFile, namespace: '' }),
    rotate: async () => vault.rotate(),
    async retire() {
      vault.minDecryptionVersion = 2;
    },
    async setReachable(reachable) {
      vault.reachable = reachable;
    },
    async remove() {
      await outbound.close();
      await vault.close();
    },
  };
});

const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'a secret of the test' };

keyProviderContract('KMS', async () => {
  const kms = await startKms();
  const outbound = outboundTo('127.0.0.1');
  return {
    provider: openKms({ outbound, key: KMS_ALIAS, client: { endpoint: kms.url, credentials } }),
    rotate: async () => kms.rotate(),
    retire: async () => kms.retire(),
    async setReachable(reachable) {
      kms.reachable = reachable;
    },
    async remove() {
      await outbound.close();
      await kms.close();
    },
  };
});

describe('a key file', () => {
  it('is made once, for its owner only', () => {
    createKeyFile(file);
    const text = readFileSync(file, 'utf8');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    createKeyFile(file);
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect(text).toMatch(/^# .*\n1 [A-Za-z0-9_-]{43}\n$/);
  });

  it('gets versions one by one', () => {
    createKeyFile(file);
    expect(addKeyVersion(file)).toBe('2');
    expect(addKeyVersion(file)).toBe('3');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8').match(/^[123] /gm)).toHaveLength(3);
  });

  it.each([
    ['nothing', ''],
    ['only remarks', '# 1 key\n'],
    ['something else', 'secret-that-is-not-told\n'],
    ['a short key', `1 ${'a'.repeat(42)}\n`],
    ['versions that fall', `2 ${'a'.repeat(43)}\n1 ${'b'.repeat(43)}\n`],
    ['a version twice', `1 ${'a'.repeat(43)}\n1 ${'b'.repeat(43)}\n`],
  ])('with %s is refused without showing what it holds', async (_, text) => {
    createKeyFile(file);
    writeFileSync(file, text);
    const failure = await openKeyFile(file)
      .wrap(new Uint8Array(32), id)
      .then(() => 'it was not refused', String);
    expect(failure).toContain(file);
    expect(failure).not.toMatch(/secret|aaaa|bbbb/);
  });

  it('opens a data key under its own id only', async () => {
    createKeyFile(file);
    const provider = openKeyFile(file);
    const wrapped = await provider.wrap(new Uint8Array(32), id);
    await expect(provider.unwrap(wrapped, 'cd'.repeat(16))).rejects.toThrow(KeyRefused);
  });
});

describe('the transit engine', () => {
  it('is asked with the token of the moment, in its namespace, and of its errors only the status is told', async () => {
    const vault = await startVault();
    const outbound = outboundTo('127.0.0.1');
    const tokenFile = join(folder, 'token');
    vault.namespace = 'teams/one';
    writeFileSync(tokenFile, 'old token');
    const provider = openVault({ outbound, key: vault.key, tokenFile, namespace: 'teams/one' });
    await expect(provider.health()).rejects.toThrow('answered 403 to keys');
    writeFileSync(tokenFile, vault.token);
    await provider.health();
    vault.token = 'another';
    await expect(provider.wrap(new Uint8Array(32), id)).rejects.toThrow(/^the transit engine answered 403 to encrypt$/);
    await outbound.close();
    await vault.close();
  });

  it('is not called where outgoing calls may not go (D1)', async () => {
    const vault = await startVault();
    const outbound = outboundTo('');
    const tokenFile = join(folder, 'token');
    writeFileSync(tokenFile, vault.token);
    await expect(openVault({ outbound, key: vault.key, tokenFile, namespace: '' }).health()).rejects.toThrow('not public');
    expect(vault.asked).toEqual([]);
    await outbound.close();
    await vault.close();
  });
});

describe('KMS', () => {
  it('binds a data key to its id', async () => {
    const kms = await startKms();
    const outbound = outboundTo('127.0.0.1');
    const provider = openKms({ outbound, key: KMS_ALIAS, client: { endpoint: kms.url, credentials } });
    const wrapped = await provider.wrap(new Uint8Array(32), id);
    await expect(provider.unwrap(wrapped, 'cd'.repeat(16))).rejects.toThrow(KeyRefused);
    await expect(provider.rewrap(wrapped, 'cd'.repeat(16))).rejects.toThrow(KeyRefused);
    await outbound.close();
    await kms.close();
  });

  it('is not called where outgoing calls may not go (D1)', async () => {
    const kms = await startKms();
    const outbound = outboundTo('');
    const provider = openKms({ outbound, key: KMS_ALIAS, client: { endpoint: kms.url, credentials } });
    await expect(provider.health()).rejects.toThrow();
    expect(kms.asked).toEqual([]);
    await outbound.close();
    await kms.close();
  });
});
