export { type Access, claimedName, createAccess, type Decision, type Explanation, type PullableProject, type Resource } from './access.ts';
export { findAssignment, type NamedAssignment, pageOfAssignments } from './assignment-list.ts';
export { assignmentRoutes } from './assignment-routes.ts';
export { assign, assignmentMigrations, setMember } from './assignments.ts';
export { passwordAuthenticator, tokenAuthenticator } from './authenticators.ts';
export { explainRoutes } from './explain-routes.ts';
export type { Identity, RequestFacts } from './identity.ts';
export { createThrottle, hasSecondFactor, localMigrations, localRoutes, type Throttle } from './local/index.ts';
export { sourceOf } from './local/throttle.ts';
export { findAccount } from './local/user-store.ts';
export {
  accessKeyRoutes,
  createIssuerKeys,
  createKeyUse,
  createWorkloads,
  findRobotById,
  keyAuthenticator,
  machineMigrations,
  robotKeyRoutes,
  robotRoutes,
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
export { policyRoutes } from './policies/index.ts';
export { pageOfProjects } from './project-list.ts';
export { projectRoutes } from './project-routes.ts';
export { ensureProject } from './projects.ts';
export { createLdapLogins, PROVIDER_SECRETS, providerMigrations, providerRoutes } from './providers/index.ts';
export { repositoriesSeen } from './repositories-seen.ts';
export { roleRoutes } from './role-routes.ts';
export { isProjectRole, ROLES, type Role } from './roles.ts';
export { createRules } from './rules.ts';
export { accessMigrations } from './schema.ts';
export type { Grant } from './scope.ts';
export {
  createSessions,
  type NewSession,
  type Sessions,
  type SessionView,
  sessionMigrations,
} from './sessions.ts';
export { createTokenHandler, type TokenHandler } from './token-service.ts';
export { createTokenIssuer, type TokenIssuer } from './tokens.ts';
export { createUser, isUserName, setDisabled, setPassword, type User, userCount } from './users.ts';
