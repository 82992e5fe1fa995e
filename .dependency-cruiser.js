// The house: rooms stand on floors, and a room imports only what is below it, through its face (docs/architecture.md).
const SERVER = '^packages/server/src/';

/** Rooms from the ground up; those of one floor do not import each other. */
const FLOORS = [
  ['platform'],
  ['content', 'catalog'],
  ['access', 'policy'],
  ['registry'],
  ['supply-chain', 'lifecycle', 'delivery', 'release', 'evidence', 'insight', 'runtime'],
  ['api'],
];

const floorRules = FLOORS.flatMap((rooms, floor) =>
  rooms.map((room) => {
    const others = rooms.filter((other) => other !== room);
    const forbidden = [...FLOORS.slice(floor + 1).flat(), ...others].map((other) => `${SERVER}${other}/`);
    return {
      name: `floor-of-${room}`,
      comment: `${room} may import only rooms on lower floors`,
      severity: 'error',
      from: { path: `${SERVER}${room}/` },
      to: { path: [...forbidden, `${SERVER}[^/]+\\.ts$`] },
    };
  }),
);

const faceRules = FLOORS.flat().map((room) => ({
  name: `face-of-${room}`,
  comment: `${room} is entered through its index.ts, by the management API through its routes.ts, by commands beside a server through its commands.ts; config is read alone by the command line, before anything else is loaded`,
  severity: 'error',
  from: { path: '^(packages|e2e|bench|scripts)/', pathNot: [`${SERVER}${room}/`, '(\\.test|/testing[^/]*)\\.ts$', '^e2e/'] },
  to: {
    path: `${SERVER}${room}/`,
    pathNot: [`${SERVER}${room}/(index|routes|commands)\\.ts$`, `${SERVER}platform/config\\.ts$`],
  },
}));

export default {
  forbidden: [
    ...floorRules,
    ...faceRules,
    {
      name: 'no-circle',
      comment: 'what imports in a circle cannot be understood, tested or moved alone',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'standard-alone',
      comment: "packages/oci holds the standard's own words and knows no server",
      severity: 'error',
      from: { path: '^packages/oci/' },
      to: { path: '^packages/(server|cli|console|agent)/' },
    },
    {
      name: 'server-knows-no-client',
      severity: 'error',
      from: { path: SERVER },
      to: { path: '^packages/(cli|console|agent)/' },
    },
    {
      name: 'no-test-in-product',
      comment: 'product code does not depend on tests, benchmarks or what only they need',
      severity: 'error',
      from: { path: '^packages/', pathNot: '(\\.test|/contract|-contract|/testing[^/]*)\\.ts$' },
      to: { path: ['^(e2e|bench|scripts)/', '(\\.test|/contract|-contract|/testing[^/]*)\\.ts$'] },
    },
    {
      name: 'declared',
      comment: 'every package that is imported is named in the package.json of who imports it',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
    combinedDependencies: true,
  },
};
