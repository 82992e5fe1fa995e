import type { Snapshot } from '@entrepot/server/backup';
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';
import { progressLine, sizeOf, stopSignal, wholeNumber } from './progress.ts';

type Options = Record<string, string>;
/** Options of a command that are no options of the configuration. */
type With<O> = O & Record<string, unknown>;

/** What a command ends with where it is done, and damage is left. */
const DAMAGED = 2;

export function registerBackup(program: Command): void {
  const backup = program.command('backup').description('back up an installation, verify a backup, hold collection');
  registerCreate(backup);
  registerVerify(backup);
  registerHold(backup);
  registerRestore(program);
}

function registerCreate(backup: Command): void {
  interface Own {
    passphraseFile?: string;
    plainKeys?: true;
    withoutKeys?: true;
    withoutBlobs?: true;
    keep?: string;
    json?: true;
  }
  withConfig(backup.command('create', { isDefault: true }))
    .argument('<dir>', 'folder of the backup; blobs that are there are not copied again')
    .description('add a snapshot, beside the running server too; ends with 2 where blobs were damaged already')
    .option('--passphrase-file <file>', 'seal the keys by the passphrase in the first line of this file')
    .option('--plain-keys', 'copy the keys as they are: whoever has the backup then has the installation')
    .option('--without-keys', 'leave the keys out; keep a copy of them elsewhere')
    .option('--without-blobs', 'leave the blobs where they are, as in a bucket that keeps versions, and only see that they are there')
    .option('--keep <number>', 'afterwards remove all but so many snapshots, and the blobs that only those had')
    .option('--json', 'print the result as JSON')
    .action(async (dir: string, { passphraseFile, plainKeys, withoutKeys, withoutBlobs, keep, json, ...options }: With<Own>) => {
      const { backUp } = await import('@entrepot/server/backup');
      const line = progressLine();
      const done = await backUp(configOf(options as Options), dir, {
        passphraseFile,
        plainKeys: plainKeys === true,
        withoutKeys: withoutKeys === true,
        leaveBlobs: withoutBlobs === true,
        keep: keep === undefined ? undefined : wholeNumber(keep, '--keep'),
        signal: stopSignal(),
        progress: ({ blobs, copied, bytes }) => line.show(`${blobs} blobs, ${copied} copied, ${sizeOf(bytes)}`),
      }).finally(() => line.end());
      const { snapshot, copied, copiedBytes, pruned } = done;
      if (json) console.log(JSON.stringify(done, undefined, 2));
      else {
        console.log(`snapshot ${snapshot.id}: ${describe(snapshot)}; ${copied} copied now, ${sizeOf(copiedBytes)}`);
        for (const id of pruned) console.log(`removed snapshot ${id}`);
        if (snapshot.keys === 'plain') console.error('warning: the keys are in the backup as they are; guard it as you guard the server');
        if (snapshot.keys === 'none') console.error('warning: the keys are not in the backup; keep a copy of the folder keys elsewhere');
      }
      reportMissing(snapshot.blobs.missing, snapshot.blobs.left ? 'not where they should be' : 'damaged already, and so not in the backup');
    });
}

function registerVerify(backup: Command): void {
  interface Own {
    snapshot?: string;
    quick?: true;
    publicKey?: string;
    discardDamaged?: true;
  }
  backup
    .command('verify')
    .argument('<dir>', 'folder of the backup')
    .description('verify a snapshot: its files, its database and all its blobs; ends with 2 where something is wrong')
    .option('--snapshot <id>', 'which; the newest without')
    .option('--quick', 'of blobs only whether they are there and have the right size')
    .option('--public-key <file>', 'verify the signature too; entrepot audit key prints the key')
    .option('--discard-damaged', 'take damaged blobs out, so that the next backup copies them anew')
    .action(async (dir: string, own: Own) => {
      const { verifyBackup } = await import('@entrepot/server/backup');
      const line = progressLine();
      const progress = (blobs: number) => line.show(`${blobs} blobs`);
      const { snapshot, problems } = await verifyBackup(dir, {
        snapshot: own.snapshot,
        publicKey: own.publicKey,
        quick: own.quick === true,
        discardDamaged: own.discardDamaged === true,
        signal: stopSignal(),
        progress,
      }).finally(() => line.end());
      for (const problem of problems) console.log(problem);
      reportMissing(snapshot.blobs.missing, 'damaged when it was made, and so are not in it');
      if (problems.length > 0) process.exitCode = DAMAGED;
      else console.log(`snapshot ${snapshot.id} is as it was written: ${describe(snapshot)}`);
    });
  backup
    .command('list')
    .argument('<dir>', 'folder of the backup')
    .description('list the snapshots of a backup')
    .option('--json', 'print them as JSON')
    .action(async (dir: string, { json }: { json?: true }) => {
      const { snapshotsOf } = await import('@entrepot/server/backup');
      const snapshots = snapshotsOf(dir);
      if (json) console.log(JSON.stringify(snapshots, undefined, 2));
      else for (const snapshot of snapshots) console.log(`${snapshot.id}  ${describe(snapshot)}`);
    });
  backup
    .command('prune')
    .argument('<dir>', 'folder of the backup')
    .requiredOption('--keep <number>', 'how many snapshots to keep')
    .description('remove all but the newest snapshots, and the blobs that only the others had')
    .action(async (dir: string, { keep }: { keep: string }) => {
      const { pruneBackup } = await import('@entrepot/server/backup');
      for (const id of await pruneBackup(dir, wholeNumber(keep, '--keep'))) console.log(`removed snapshot ${id}`);
    });
}

function registerHold(backup: Command): void {
  withConfig(backup.command('hold'))
    .option('--hours <number>', 'until when, from now on, if it is not released before', '4')
    .description('hold collection while the database and the blobs are copied with other tools; prints the id that releases it')
    .action(async ({ hours, ...options }: With<{ hours: string }>) => {
      const { holdCollection } = await import('@entrepot/server/backup');
      const { id, until } = await holdCollection(configOf(options as Options), wholeNumber(hours, '--hours'));
      console.log(id);
      console.error(`nothing is collected until ${until.toISOString()}, or entrepot backup release ${id}`);
    });
  withConfig(backup.command('release'))
    .argument('<id>', 'of a hold')
    .description('release a hold of collection')
    .action(async (id: string, options: Options) => {
      const { releaseCollection } = await import('@entrepot/server/backup');
      await releaseCollection(configOf(options), id);
    });
}

function registerRestore(program: Command): void {
  interface Own {
    snapshot?: string;
    passphraseFile?: string;
  }
  withConfig(program.command('restore'))
    .argument('<dir>', 'folder of the backup')
    .description(
      'make a new data directory from a backup, and fill the PostgreSQL database if one is configured, and examine it; never overwrites; ends with 2 where damage is left',
    )
    .option('--snapshot <id>', 'which; the newest without')
    .option('--passphrase-file <file>', 'opens sealed keys')
    .action(async (dir: string, { snapshot: wanted, passphraseFile, ...options }: With<Own>) => {
      const [{ restore }, { examineInstallation }, { printReport }] = await Promise.all([
        import('@entrepot/server/backup'),
        import('@entrepot/server/doctor'),
        import('./doctor.ts'),
      ]);
      const config = configOf(options as Options);
      const line = progressLine();
      const signal = stopSignal();
      const progress = (blobs: number) => line.show(`${blobs} blobs`);
      const { snapshot, missing } = await restore(config, dir, { snapshot: wanted, passphraseFile, signal, progress }).finally(() =>
        line.end(),
      );
      console.log(`restored snapshot ${snapshot.id}, as it was at ${snapshot.takenAt}: ${describe(snapshot)}`);
      if (snapshot.keys === 'none') console.log('the keys are not in the backup: put them into the folder keys before the server starts');
      const why = snapshot.blobs.left ? 'not in the storage: bring back their old versions, or' : 'not in the backup as they should be;';
      reportMissing(missing, `${why} push their images again`);
      const report = await examineInstallation(config, { deep: true, mend: false, signal, begun: (check) => line.show(check) });
      line.end();
      printReport(report, false);
      if (report.errors > 0) process.exitCode = DAMAGED;
    });
}

function describe({ takenAt, keys, blobs }: Snapshot): string {
  return `${takenAt}, ${blobs.count} blobs${blobs.left ? ' (left where they were)' : ''}, ${sizeOf(blobs.bytes)}, keys ${keys}`;
}

const SHOWN = 20;

function reportMissing(digests: readonly string[], why: string): void {
  if (digests.length === 0) return;
  console.log(`${digests.length} blobs are ${why}:`);
  for (const digest of digests.slice(0, SHOWN)) console.log(`  ${digest}`);
  if (digests.length > SHOWN) console.log('  …');
  process.exitCode = DAMAGED;
}
