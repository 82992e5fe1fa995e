import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';
import { progressLine, sizeOf, stopSignal, wholeNumber } from './progress.ts';

interface Options extends Record<string, unknown> {
  readonly repairFrom: string[];
  readonly damagedOnly?: true;
  readonly rate?: string;
  readonly json?: true;
}

/** What the command ends with where damage is left. */
const DAMAGED = 2;

export function registerScrub(program: Command): void {
  withConfig(program.command('scrub'))
    .description('read and verify all that is stored, beside the running server too; ends with 2 where damage is left')
    .option('--repair-from <dir>', 'repair from a backup or the storage of another registry; may be given again', gather, [])
    .option('--damaged-only', 'look only at what is known to be damaged')
    .option('--rate <MiB/s>', 'read no faster than that; as fast as it goes without')
    .option('--json', 'print the result as JSON')
    .action(async ({ repairFrom, damagedOnly, rate, json, ...options }: Options) => {
      const { scrubInstallation } = await import('@entrepot/server/scrub');
      const line = progressLine();
      const found = await scrubInstallation(configOf(options as Record<string, string>), {
        repairFrom,
        damagedOnly: damagedOnly === true,
        rate: rate === undefined ? undefined : wholeNumber(rate, '--rate'),
        signal: stopSignal(),
        progress: ({ phase, blobs, bytes, damaged }) => line.show(`${phase}: ${blobs} blobs, ${sizeOf(bytes)} read, ${damaged} damaged`),
      }).finally(() => line.end());
      const { pass, repaired, damaged, quarantined } = found;
      if (json) console.log(JSON.stringify(found, undefined, 2));
      else {
        for (const digest of repaired) console.log(`repaired ${digest}`);
        for (const { digest, detail } of quarantined) console.log(`${digest} ${detail}`);
        if (pass)
          console.log(`read ${pass.blobs} blobs and ${pass.manifests} manifests, ${sizeOf(pass.bytes)}: ${pass.damaged} were damaged`);
        console.log(
          damaged === 0
            ? 'no blob is in quarantine'
            : `${damaged} blobs are in quarantine: push images that have them again, or repair with --repair-from`,
        );
      }
      if (damaged > 0) process.exitCode = DAMAGED;
    });
}

function gather(value: string, all: string[]): string[] {
  return [...all, value];
}
