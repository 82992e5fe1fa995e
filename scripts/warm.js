// Runs after installation: starts the registry once, in a folder of its own, so that its compiled code is kept and the
// first start of a user takes as long as any other. Nothing depends on it; where it cannot run, it does nothing.
import { mkdtempSync, rmSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [major = 0] = process.versions.node.split('.').map(Number);
if (major >= 24) {
  const dataDir = mkdtempSync(join(tmpdir(), 'entrepot-warm-'));
  try {
    nodeModule.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/entrepot', import.meta.url)));
    const { loadConfig } = await import('@entrepot/server/config');
    const { serve } = await import('@entrepot/server');
    const server = await serve(loadConfig({ env: {}, flags: { dataDir, listen: '127.0.0.1:0', logLevel: 'silent' } }), undefined);
    await server.stop();
  } catch {
    // The first start will say what is wrong.
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}
