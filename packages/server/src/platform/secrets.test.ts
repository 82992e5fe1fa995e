import { fork } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSecrets } from './secrets.ts';

let root: string;
let folder: string;
let path: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'entrepot-secrets-'));
  folder = join(root, 'data', 'keys');
  path = join(folder, 'master.key');
});
afterEach(() => rmSync(root, { recursive: true }));

const hex = (key: Uint8Array) => Buffer.from(key).toString('hex');

describe('secrets', () => {
  it('are made at the first start, for their owner alone, and are the same ever after', () => {
    const first = openSecrets(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path)).toHaveLength(32);
    expect(readdirSync(folder)).toEqual(['master.key']);
    const again = openSecrets(folder);
    expect(hex(again.derive('tokens'))).toBe(hex(first.derive('tokens')));
  });

  it('differ by purpose and by installation, and none is the key in the file', () => {
    const here = openSecrets(folder);
    const elsewhere = openSecrets(join(root, 'other'));
    const keys = [here.derive('a'), here.derive('b'), here.derive(''), elsewhere.derive('a'), readFileSync(path)].map(hex);
    expect(new Set(keys).size).toBe(keys.length);
    expect(here.derive('a')).toHaveLength(32);
  });

  it.each([0o640, 0o604, 0o666, 0o610])('in a file of mode %o are refused, with what to do', (mode) => {
    openSecrets(folder);
    chmodSync(path, mode);
    expect(() => openSecrets(folder)).toThrow(`chmod 600 ${path}`);
    expect(readFileSync(path)).toHaveLength(32);
  });

  it.each([0, 31, 33])('of %i bytes are refused, and not made anew', (length) => {
    openSecrets(folder);
    writeFileSync(path, Buffer.alloc(length));
    expect(() => openSecrets(folder)).toThrow('must hold 32 bytes');
    expect(statSync(path).size).toBe(length);
  });

  it('are the same for processes that start at once', async () => {
    const script = join(root, 'open.ts');
    const module = new URL('./secrets.ts', import.meta.url).href;
    writeFileSync(
      script,
      `import { openSecrets } from ${JSON.stringify(module)};
       process.once('message', () => {
         process.send(Buffer.from(openSecrets(${JSON.stringify(folder)}).derive('tokens')).toString('hex'));
         process.disconnect();
       });
       process.send('ready');`,
    );
    const children = Array.from({ length: 4 }, () => fork(script, { execArgv: [] }));
    const next = (child: (typeof children)[number]) => new Promise((resolve) => child.once('message', resolve));
    await Promise.all(children.map(next));
    const keys = Promise.all(children.map(next));
    for (const child of children) child.send('go');
    expect(new Set(await keys).size).toBe(1);
    expect(readdirSync(folder)).toEqual(['master.key']);
  });
});
