import { loadConfig } from '@entrepot/server/config';
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';
import { progressLine, sizeOf, stopSignal } from './progress.ts';

type With<O> = O & Record<string, unknown>;

/** What a command ends with where it is done, and damage is left. */
const DAMAGED = 2;
const SHOWN = 20;
const TO = 'YAML file of the configuration that the servers will have afterwards; variables and options do not count for it';

/** Commands that bring an installation from one machine to many, and back. */
export function registerMove(program: Command): void {
  const move = program
    .command('move')
    .description('move the blobs or the database of an installation to where another configuration has them');
  withConfig(move.command('blobs'))
    .description('copy all blobs to the storage of another configuration, beside running servers; run again, it copies what is new')
    .requiredOption('--to <file>', TO)
    .option('--final', 'the servers are stopped: copy the rest, and have the registry find its blobs there from now on')
    .action(async ({ to, final, ...options }: With<{ to: string; final?: true }>) => {
      const { moveBlobs } = await import('@entrepot/server/move');
      const line = progressLine();
      const { blobs, copied, bytes, missing } = await moveBlobs(
        configOf(options as Record<string, string>),
        loadConfig({ file: to, env: {} }),
        {
          final: final === true,
          signal: stopSignal(),
          progress: (done) => line.show(`${done.blobs} blobs, ${done.copied} copied, ${sizeOf(done.bytes)}`),
        },
      ).finally(() => line.end());
      console.log(`${blobs} blobs, ${copied} copied now, ${sizeOf(bytes)}`);
      for (const digest of missing.slice(0, SHOWN)) console.log(`  ${digest} is damaged or missing where it was, and was not copied`);
      if (missing.length > SHOWN) console.log(`  … ${missing.length} in all`);
      if (missing.length > 0) process.exitCode = DAMAGED;
      console.log(
        final
          ? `the blobs are where ${to} has them: start the servers with its storage`
          : 'what is pushed from now on is not there yet: stop the servers, and run the same command with --final',
      );
    });
  withConfig(move.command('database'))
    .description('move the database of a stopped installation from SQLite to an empty PostgreSQL database, or back; cut off, run it again')
    .requiredOption('--to <file>', TO)
    .action(async ({ to, ...options }: With<{ to: string }>) => {
      const { moveDatabase } = await import('@entrepot/server/move');
      const line = progressLine();
      const moved = await moveDatabase(configOf(options as Record<string, string>), loadConfig({ file: to, env: {} }), {
        signal: stopSignal(),
        progress: (table, rows) => line.show(`${table}: ${rows} rows`),
      }).finally(() => line.end());
      console.log(
        `the database is in ${moved.to} now, every table as it was in ${moved.from}; the old one is kept, and no server starts with it`,
      );
      console.log(`audit trail: ${moved.trail.told}`);
      if (!moved.trail.sound) process.exitCode = DAMAGED;
    });
}
