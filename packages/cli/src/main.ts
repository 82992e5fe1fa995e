import { Command } from 'commander';
import { registerAdmin } from './admin.ts';
import { registerAdopt } from './adopt.ts';
import { registerAudit } from './audit.ts';
import { registerBackup } from './backup.ts';
import { registerConfig } from './config.ts';
import { registerDoctor } from './doctor.ts';
import { registerEncryption } from './encryption.ts';
import { registerImport } from './import.ts';
import { registerMove } from './move.ts';
import { registerScrub } from './scrub.ts';
import { registerServe } from './serve.ts';

process.umask(0o077); // whatever is written, in a data directory made by others too, is its owner's alone

const program = new Command('entrepot')
  .description('Entrepot, a container registry in one program')
  .version('0.1.0')
  .showHelpAfterError()
  .configureHelp({ showGlobalOptions: true });
registerServe(program);
registerConfig(program);
registerAdmin(program);
registerAudit(program);
registerAdopt(program);
registerEncryption(program);
registerScrub(program);
registerBackup(program);
registerDoctor(program);
registerImport(program);
registerMove(program);

try {
  await program.parseAsync();
} catch (error) {
  console.error(`entrepot: ${(error as Error).message}`);
  process.exitCode = 1;
}
