#!/usr/bin/env node
// Runs the command under the pinned Node, also where the system's own Node is older.
import { spawnSync } from 'node:child_process';
import { createRequire, enableCompileCache } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > 24 || (major === 24 && minor >= 15)) {
  // Compiled code is kept beside the installed packages, for this process and those it starts: halves start-up and memory.
  process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL('../../../node_modules/.cache/entrepot', import.meta.url));
  enableCompileCache(process.env.NODE_COMPILE_CACHE);
  await import('../src/main.ts');
} else {
  const platform = `node-${process.platform}-${process.arch}`;
  let pinned;
  try {
    pinned = join(dirname(createRequire(import.meta.url).resolve(`${platform}/package.json`)), 'bin', 'node');
  } catch {
    console.error(`entrepot needs Node 24.15 or newer; this is ${process.version}, and ${platform} is not installed`);
    process.exit(1);
  }
  const child = spawnSync(pinned, process.argv.slice(1), { stdio: 'inherit' });
  process.exit(child.status ?? 1);
}
