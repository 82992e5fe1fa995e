import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

type Options = Record<string, string>;

const PROBLEMS_FOUND = 2;

export function registerImport(program: Command): void {
  withConfig(program.command('import'))
    .argument('<path>', 'an OCI image layout or what docker save wrote, as a folder or a tar archive; or the storage of zot')
    .argument('[target]', 'repository, or repository:tag; for the storage of zot what goes before the names of its repositories')
    .option('--json', 'print lines of JSON')
    .description('import images, each byte verified; ends with 2 where some could not be imported')
    .action(async (path: string, target: string | undefined, { json, ...options }: Options) => {
      const { importFrom } = await import('@entrepot/server/adoption');
      await importFrom(configOf(options), path, target, ({ repository, problems, ...counts }) => {
        if (problems.length > 0) process.exitCode = PROBLEMS_FOUND;
        if (json) return console.log(JSON.stringify({ repository, ...counts, problems }));
        for (const { subject, problem } of problems) console.log(`${shown(subject)}: ${shown(problem)}`);
        const { images, manifests, tags, bytes } = counts;
        console.log(`${shown(repository)}: ${images} images, ${manifests} new manifests, ${tags} tags, ${bytes} bytes`);
      });
    });
}

/** Names in archives may hold anything; a terminal is to be told of nothing that it would obey. */
function shown(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
