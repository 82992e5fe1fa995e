import { expect, it } from 'vitest';
import { loadConditions } from './conditions.ts';
import { checkIssuer } from './issuer-keys.ts';
import { TRUST_PRESETS } from './trust-presets.ts';

const { compile } = await loadConditions();

/** Claims as each issuer documents them. */
const GITHUB = {
  sub: 'repo:octo-org/app:ref:refs/heads/main',
  repository: 'octo-org/app',
  repository_owner: 'octo-org',
  repository_owner_id: '65',
  ref: 'refs/heads/main',
  ref_type: 'branch',
  environment: 'production',
};
const SAMPLES: Record<string, Record<string, unknown>> = {
  'github-actions': GITHUB,
  'github-actions-environment': { ...GITHUB, ref: 'refs/tags/v1' },
  gitlab: { sub: 'project_path:group/app:ref_type:branch:ref:main', project_path: 'group/app', ref_protected: 'true', ref_type: 'branch' },
  kubernetes: {
    sub: 'system:serviceaccount:ci:builder',
    'kubernetes.io': { namespace: 'ci', serviceaccount: { name: 'builder', uid: '1' }, pod: { name: 'p', uid: '2' } },
  },
};

it.each(TRUST_PRESETS)(
  'the preset $name lets its example pass, and nobody who differs in a claim that it names',
  ({ name, issuer, condition }) => {
    checkIssuer(issuer);
    const { holds, fieldsOf } = compile(condition, ['claims']);
    const claims = SAMPLES[name] ?? {};
    expect(holds({ claims })).toBe(true);
    const passes = (other: object) => {
      try {
        return holds({ claims: other });
      } catch {
        return false;
      }
    };
    const named = fieldsOf('claims');
    expect(named.length).toBeGreaterThan(1);
    for (const field of named) {
      expect(passes({ ...claims, [field]: 'other' })).toBe(false);
      expect(passes({ ...claims, [field]: [claims[field]] })).toBe(false);
      expect(passes(Object.fromEntries(Object.entries(claims).filter(([key]) => key !== field)))).toBe(false);
    }
  },
);
