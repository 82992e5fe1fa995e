export { type Access, createAccess, type Decision, type Explanation, type PullableProject, type Resource } from './access.ts';
export { assignmentRoutes } from './assignment-routes.ts';
export { assign, assignmentMigrations, setMember } from './assignments.ts';
export { passwordAuthenticator, tokenAuthenticator } from './authenticators.ts';
export { explainRoutes } from './explain-routes.ts';
export type { Identity, RequestFacts } from './identity.ts';
export { createThrottle, hasSecondFactor, localMigrations, localRoutes, type Throttle } from './local/index.ts';
export {
  accessKeyRoutes,
  createKeyUse,
  createIssuerKeys,
  keyAuthenticator,
  createWorkloads,
  machineMigrations,
  robotRoutes,
  robotKeyRoutes,
  trustRuleRoutes,
} from './machines/index.ts';
export { memberRoutes } from './member-routes.ts';
export {
  createPasswordChecker,
  hashPassword,
  isAcceptablePassword,
  PASSWORD_MAX_LENGTH,
  PASSWORD_MIN_LENGTH,
  type PasswordChecker,
  randomPassword,
} from './passwords.ts';
export { type Action, isPermission, PERMISSIONS, type Permission } from './permissions.ts';
export { projectRoutes } from './project-routes.ts';
export { policyRoutes } from './policies/index.ts';
export { pageOfProjects } from './project-list.ts';
export { ensureProject } from './projects.ts';
export { repositoriesSeen } from './repositories-seen.ts';
export { roleRoutes } from './role-routes.ts';
export { isProjectRole, ROLES, type Role } from './roles.ts';
export { createRules } from './rules.ts';
export { accessMigrations } from './schema.ts';
export type { Grant } from './scope.ts';
export {
  createSessions,
  endSession,
  endSessions,
  type NewSession,
  type Sessions,
  type SessionView,
  sessionMigrations,
} from './sessions.ts';
export { createTokenHandler, type TokenHandler } from './token-service.ts';
export { createTokenIssuer, type TokenIssuer } from './tokens.ts';
export { createUser, isUserName, setDisabled, setPassword, type User, userCount } from './users.ts';
