import { once } from 'node:events';
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

type Options = Record<string, string>;

/** Commands on the audit trail, for whoever may read the data directory, or has an export of it. */
export function registerAudit(program: Command): void {
  const audit = program.command('audit').description('verify and export the audit trail');
  withConfig(audit.command('verify'))
    .option('--export <file>', 'verify this export instead of a data directory')
    .option('--public-key <file>', 'PEM file of the key that signed the export')
    .description('recompute the chain and its checkpoints, and name the first record that was changed, removed, moved or cut off')
    .action(async ({ export: file, publicKey, ...options }: Options) => {
      const { verifyAudit, verifyAuditExport } = await import('@entrepot/server/audit');
      if (file === undefined) return console.log(await verifyAudit(configOf(options)));
      if (publicKey === undefined) throw new Error('an export is verified with --public-key; entrepot audit key prints it');
      console.log(await verifyAuditExport(file, publicKey));
    });
  withConfig(audit.command('export'))
    .option('--from <number>', 'first record', '1')
    .option('--to <number>', 'last record', String(Number.MAX_SAFE_INTEGER))
    .description('print audit records as lines of JSON, with what verifies them elsewhere')
    .action(async ({ from = '', to = '', ...options }: Options) => {
      const { exportAudit } = await import('@entrepot/server/audit');
      const range = { from: numberOf(from), to: numberOf(to) };
      await exportAudit(configOf(options), range, async (line) => {
        if (!process.stdout.write(line)) await once(process.stdout, 'drain');
      });
    });
  withConfig(audit.command('key'))
    .description('print the public key that verifies checkpoints')
    .action(async (options: Options) => {
      const { auditPublicKey } = await import('@entrepot/server/audit');
      process.stdout.write(auditPublicKey(configOf(options)));
    });
}

function numberOf(text: string): number {
  if (!/^[0-9]{1,16}$/.test(text)) throw new Error(`${text} is no number of a record`);
  return Number(text);
}
