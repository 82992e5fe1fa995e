import Type, { type Static } from 'typebox';
import { AppError, type Caller, enqueue, latestJob, type Route, routesFor } from '../../platform/index.ts';
import type { LifecycleParts } from '../parts.ts';
import { DOCTOR } from './jobs.ts';

const Severity = Type.Enum(['error', 'warning', 'notice']);
const ReportView = Type.Object({
  at: Type.String({ format: 'date-time' }),
  errors: Type.Integer({ description: 'something is lost or does not work' }),
  warnings: Type.Integer(),
  notices: Type.Integer(),
  mended: Type.Integer(),
  checks: Type.Array(
    Type.Object({
      name: Type.String(),
      title: Type.String(),
      found: Type.Integer(),
      mended: Type.Integer(),
      failure: Type.Union([Type.String(), Type.Null()], { description: 'why it could not look to the end' }),
      seconds: Type.Number(),
      findings: Type.Array(
        Type.Object({
          severity: Severity,
          where: Type.String(),
          what: Type.String(),
          remedy: Type.String(),
          mend: Type.Union([Type.String(), Type.Null()], { description: 'what entrepot doctor --mend does about it' }),
          mended: Type.Boolean(),
        }),
        { description: 'those found first' },
      ),
    }),
  ),
});

/** Doctor, for who has no access to the machine. */
export function doctorRoutes({ database }: LifecycleParts): Route[] {
  const { read, change } = routesFor<Caller>();
  const common = { tag: 'Storage', path: '/storage/doctor' } as const;
  return [
    read({
      ...common,
      method: 'GET',
      summary: 'Read what doctor found last',
      description: 'Kept for a day.',
      permission: 'storage:read',
      answer: ReportView,
      async handle() {
        const job = await latestJob(database, DOCTOR, 'done');
        if (!job) throw new AppError('not_found', 'doctor has not looked for a day; POST asks it to');
        return { body: job.result as Static<typeof ReportView> };
      },
    }),
    change({
      ...common,
      method: 'POST',
      summary: 'Have doctor look at tables and store, in the background',
      description: 'What needs the machine (files, disks, the database file) is looked at by entrepot doctor.',
      permission: 'storage:manage',
      audit: 'doctor.start',
      body: Type.Object(
        { deep: Type.Optional(Type.Boolean({ default: false, description: 'read and hash all blobs and manifests' })) },
        { additionalProperties: false },
      ),
      status: 202,
      answer: Type.Object({ job: Type.Integer({ description: 'what looks: /jobs/:id' }) }),
      async change(tx, { body: { deep = false }, now }) {
        const job = await enqueue(tx, { kind: DOCTOR, key: deep ? 'deep' : 'quick', payload: { deep }, now });
        return { body: { job }, resource: { type: 'doctor', name: String(job) }, after: { deep } };
      },
    }),
  ];
}
