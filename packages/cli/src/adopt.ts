import type { AdoptionProgress, AdoptionReport } from '@entrepot/server/adoption';
import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

type Options = Record<string, string>;

/** What the end of a command tells scripts: all is well, it failed, or it is done and something is missing. */
const DAMAGE_FOUND = 2;
const SHOWN_OF_EACH = 20;
const EVERY_MS = 1000;

export function registerAdopt(program: Command): void {
  withConfig(program.command('adopt'))
    .option('--verify', 'hash every blob and read every link, which takes as long as reading the storage')
    .option('--update', 'tags that lead elsewhere follow the storage: after the other registry ran on it again')
    .option('--public', 'projects that are made may be pulled from without login')
    .option('--write-links', 'instead write what Entrepot has as files of registry:2, for it to take over')
    .option('--json', 'print lines of JSON: progress, findings, result')
    .description(
      'index the storage of a stopped registry:2 or Harbor where it lies, in --storage-dir; ends with 2 where something could not be adopted',
    )
    .action(async ({ verify, update, public: isPublic, json, writeLinks, ...options }: Options) => {
      const { adopt, findings, writeLayout } = await import('@entrepot/server/adoption');
      const config = configOf(options);
      if (writeLinks) {
        const { manifests, tags } = await writeLayout(config);
        return console.log(`the files of ${manifests} manifests and ${tags} tags are there`);
      }
      const show = json ? jsonProgress() : lineProgress();
      const settings = { verify: Boolean(verify), update: Boolean(update), public: Boolean(isPublic) };
      const report = await adopt(config, { ...settings, onProgress: show.progress });
      show.end();
      for await (const { text, ...finding } of findings(config, json ? undefined : SHOWN_OF_EACH)) {
        if (json) print({ type: 'finding', ...finding });
        else console.log(`${finding.kind}  ${shown(finding.repository)}  ${shown(finding.subject)}  ${shown(finding.detail)}`);
      }
      if (json) print({ type: 'result', ...report });
      else console.log(summary(report));
      if (report.damage > 0) process.exitCode = DAMAGE_FOUND;
    });
}

/** Names of files may hold anything; a terminal is to be told of nothing that it would obey. */
function shown(text: string): string {
  return text === '' ? '-' : JSON.stringify(text).slice(1, -1);
}

function print(value: unknown): void {
  console.log(JSON.stringify(value));
}

function summary({ counts, findings, damage, startedAt, finishedAt, continued }: AdoptionReport): string {
  const { repositories, manifests, tags, moves, hashed, hashedBytes } = counts;
  const seconds = Math.round((finishedAt - startedAt) / 1000);
  const lines = [
    `${repositories} repositories, ${manifests} manifests, ${tags} tags with ${moves} former positions`,
    `in ${seconds} s${continued ? ', with what was done before it was cut off' : ''}`,
  ];
  if (hashed > 0) lines.push(`${hashed} blobs hashed, ${hashedBytes} bytes`);
  for (const [kind, count] of Object.entries(findings)) lines.push(`${kind}: ${count}`);
  lines.push(damage === 0 ? 'all that could be pulled was adopted' : `${damage} things could not be adopted; adopt --json lists them all`);
  return lines.join('\n');
}

interface Progress {
  progress(now: AdoptionProgress): void;
  end(): void;
}

/** At most one report a second. */
function seldom(show: (now: AdoptionProgress) => void): (now: AdoptionProgress) => void {
  let last = performance.now();
  return (now) => {
    if (performance.now() - last < EVERY_MS) return;
    last = performance.now();
    show(now);
  };
}

function jsonProgress(): Progress {
  return { progress: seldom((now) => print({ type: 'progress', ...now })), end: () => undefined };
}

function lineProgress(): Progress {
  const { stderr } = process;
  const line = ({ at, counts }: AdoptionProgress) => {
    const done = `${counts.repositories} repositories, ${counts.manifests} manifests, ${counts.tags} tags`;
    return `${counts.hashed > 0 && counts.repositories === 0 ? `${counts.hashed} blobs hashed` : done}; ${shown(at)}`;
  };
  if (!stderr.isTTY) return { progress: seldom((now) => void stderr.write(`${line(now)}\n`)), end: () => undefined };
  return {
    progress: seldom((now) => void stderr.write(`\r\x1b[K${line(now).slice(0, stderr.columns - 1)}`)),
    end: () => void stderr.write('\r\x1b[K'),
  };
}
