export type { Check, CheckReport, Finding, Mend, Report, Severity } from './finding.ts';
export { graphChecks } from './graph.ts';
export { hostChecks } from './host.ts';
export { runChecks } from './run.ts';
export { storeChecks } from './store.ts';
export { usageCheck } from './usage.ts';
