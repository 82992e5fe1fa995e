import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { environment } from '../harness/server.ts';

const ENTREPOT = fileURLToPath(new URL('../../packages/cli/bin/entrepot.js', import.meta.url));

/** Runs a command to its end. */
export function entrepot(words: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [ENTREPOT, ...words], { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, out, err })));
}
