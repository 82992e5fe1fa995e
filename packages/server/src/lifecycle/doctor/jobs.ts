import type { JobDefinition } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { repairParts } from '../scrub/index.ts';

export const DOCTOR = 'doctor';

/** Of each check so many findings are kept with the job. */
const KEPT = 20;

/** Looks at tables and store of the running server; what needs the machine itself is for the command line. */
export function doctorJob(parts: LifecycleParts): JobDefinition {
  const { clock, config } = parts;
  return {
    kind: DOCTOR,
    maxAttempts: 3,
    async run(payload, { signal, progress }) {
      // Loaded when it is asked for: a start needs none of it.
      const [{ graphChecks }, { usageCheck }, { storeChecks }, { runChecks }] = await Promise.all([
        import('./graph.ts'),
        import('./usage.ts'),
        import('./store.ts'),
        import('./run.ts'),
      ]);
      const { deep = false } = (payload ?? {}) as { deep?: boolean };
      const checks = [...graphChecks(parts), usageCheck(parts.database), ...storeChecks({ ...repairParts(parts), config, deep })];
      const report = await runChecks(checks, { now: clock.now(), signal, begun: ({ name }) => void progress({ check: name }) });
      return { ...report, checks: report.checks.map((check) => ({ ...check, findings: check.findings.slice(0, KEPT) })) };
    },
  };
}
