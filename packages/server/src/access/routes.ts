// The room's other face: its route tables, loaded with the management API and not before.
export { assignmentRoutes } from './assignment-routes.ts';
export { explainRoutes } from './explain-routes.ts';
export { localRoutes } from './local/routes.ts';
export { accessKeyRoutes } from './machines/access-key-routes.ts';
export { robotKeyRoutes } from './machines/robot-key-routes.ts';
export { robotRoutes } from './machines/robot-routes.ts';
export { trustRuleRoutes } from './machines/trust-rule-routes.ts';
export { memberRoutes } from './member-routes.ts';
export { policyRoutes } from './policies/policy-routes.ts';
export { projectRoutes } from './project-routes.ts';
export { providerRoutes } from './providers/routes.ts';
export { repositoriesSeen } from './repositories-seen.ts';
export { roleRoutes } from './role-routes.ts';
