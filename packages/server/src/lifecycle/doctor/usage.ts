import { checkUsage } from '../../catalog/index.ts';
import type { Database } from '../../platform/index.ts';
import type { Check } from './finding.ts';

/** Whether every project is counted as what it holds. */
export function usageCheck(database: Database): Check {
  const remedy = 'entrepot doctor --mend, or POST /quotas/check of the API';
  return {
    name: 'usage',
    title: 'what quotas count',
    async *run(signal) {
      const { drifts, busy } = await checkUsage(database, { repair: false, signal });
      for (const { project, counted, found, blobs } of drifts) {
        const told = (usage: typeof found) => `${usage.bytes} bytes, ${usage.repositories} repositories and ${usage.tags} tags`;
        const more = blobs === 0 ? '' : `; ${blobs} blobs are counted in a wrong number of repositories`;
        yield {
          severity: 'error',
          where: `project ${project}`,
          what: `is counted with ${told(counted)}, it has ${told(found)}${more}`,
          remedy,
          mend: {
            audit: 'quota.mend',
            does: 'counts anew',
            run: async () => void (await checkUsage(database, { repair: true, signal, only: project })),
          },
        };
      }
      for (const project of busy) {
        yield { severity: 'notice', where: `project ${project}`, what: 'changed all the while it was counted', remedy: 'look again later' };
      }
    },
  };
}
