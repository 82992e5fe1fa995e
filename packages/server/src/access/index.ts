export { type Access, claimedName, createAccess, type Decision, type Explanation, type PullableProject, type Resource } from './access.ts';
export { findAssignment, type NamedAssignment, pageOfAssignments } from './assignment-list.ts';
export { assign, assignmentMigrations, setMember } from './assignments.ts';
export { passwordAuthenticator, tokenAuthenticator } from './authenticators.ts';
export type { Identity, RequestFacts } from './identity.ts';
export { createThrottle, hasSecondFactor, localMigrations, type Throttle } from './local/index.ts';
export { sourceOf } from './local/throttle.ts';
export { findAccount } from './local/user-store.ts';
export {
  createIssuerKeys,
  createKeyUse,
  createWorkloads,
  findRobotById,
  keyAuthenticator,
  machineMigrations,
} from './machines/index.ts';
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
export { pageOfProjects } from './project-list.ts';
export { ensureProject } from './projects.ts';
export { createLdapLogins, PROVIDER_SECRETS, providerMigrations } from './providers/index.ts';
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
