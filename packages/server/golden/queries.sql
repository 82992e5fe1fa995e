-- access.accountByName
select "user"."id", "user"."name", "user"."email", "user"."full_name" as "fullName", "user"."disabled", "user"."created_at" as "createdAt", "user"."version", "user"."password_hash" as "passwordHash", case when exists (select "role_assignment"."id" from "role_assignment" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = "user"."id" and "role_assignment"."role" = ? and "role_assignment"."project_id" is null and "role_assignment"."pattern" is null) then 1 else 0 end as "admin" from "user" where "user"."name" = ?;
-- access.accountsByAge
select "user"."id", "user"."name", "user"."email", "user"."full_name" as "fullName", "user"."disabled", "user"."created_at" as "createdAt", "user"."version", "user"."password_hash" as "passwordHash", case when exists (select "role_assignment"."id" from "role_assignment" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = "user"."id" and "role_assignment"."role" = ? and "role_assignment"."project_id" is null and "role_assignment"."pattern" is null) then 1 else 0 end as "admin" from "user" where "user"."created_at" >= ? and ("user"."created_at" > ? or "user"."id" > ?) and lower("user"."name") like ? escape '\' and lower("user"."email") like ? escape '\' and (? = ? or "user"."disabled" = ?) order by "user"."created_at" asc, "user"."id" asc limit ?;
-- access.accountsByAgeDown
select "user"."id", "user"."name", "user"."email", "user"."full_name" as "fullName", "user"."disabled", "user"."created_at" as "createdAt", "user"."version", "user"."password_hash" as "passwordHash", case when exists (select "role_assignment"."id" from "role_assignment" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = "user"."id" and "role_assignment"."role" = ? and "role_assignment"."project_id" is null and "role_assignment"."pattern" is null) then 1 else 0 end as "admin" from "user" where "user"."created_at" <= ? and ("user"."created_at" < ? or "user"."id" < ?) and lower("user"."name") like ? escape '\' and lower("user"."email") like ? escape '\' and (? = ? or "user"."disabled" = ?) order by "user"."created_at" desc, "user"."id" desc limit ?;
-- access.accountsByName
select "user"."id", "user"."name", "user"."email", "user"."full_name" as "fullName", "user"."disabled", "user"."created_at" as "createdAt", "user"."version", "user"."password_hash" as "passwordHash", case when exists (select "role_assignment"."id" from "role_assignment" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = "user"."id" and "role_assignment"."role" = ? and "role_assignment"."project_id" is null and "role_assignment"."pattern" is null) then 1 else 0 end as "admin" from "user" where "user"."name" > ? and lower("user"."name") like ? escape '\' and lower("user"."email") like ? escape '\' and (? = ? or "user"."disabled" = ?) order by "user"."name" asc limit ?;
-- access.accountsByNameDown
select "user"."id", "user"."name", "user"."email", "user"."full_name" as "fullName", "user"."disabled", "user"."created_at" as "createdAt", "user"."version", "user"."password_hash" as "passwordHash", case when exists (select "role_assignment"."id" from "role_assignment" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = "user"."id" and "role_assignment"."role" = ? and "role_assignment"."project_id" is null and "role_assignment"."pattern" is null) then 1 else 0 end as "admin" from "user" where "user"."name" < ? and lower("user"."name") like ? escape '\' and lower("user"."email") like ? escape '\' and (? = ? or "user"."disabled" = ?) order by "user"."name" desc limit ?;
-- access.anyAssignmentOfRole
select "id" from "role_assignment" where "role" = ? limit ?;
-- access.anySystemAdmin
select "user"."id" from "role_assignment" inner join "user" on "user"."id" = "role_assignment"."subject_id" where "role_assignment"."role" = ? and "role_assignment"."project_id" is null and "role_assignment"."pattern" is null and "role_assignment"."subject_kind" = ? and "user"."disabled" = ? limit ?;
-- access.assignment
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where "role_assignment"."id" = ? and coalesce(role_assignment.project_id, 0) = ?;
-- access.assignmentsOf
select "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "project"."name" as "project", "role"."permissions" as "custom", "user_group"."name" as "group" from "role_assignment" left join "project" on "project"."id" = "role_assignment"."project_id" left join "role" on "role"."name" = "role_assignment"."role" left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where (("role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = ?) or (? = ? and "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" in (select "group_id" from "group_member" where "user_id" = ?))) and ("role_assignment"."project_id" is null or "project"."name" = ?);
-- access.attachPolicy
insert into "policy_attachment" ("policy_id", "subject_kind", "subject_id", "created_at", "created_by") values (?, ?, ?, ?, ?) on conflict ("subject_kind", "subject_id", "policy_id") do nothing;
-- access.confirmTotp
update "totp" set "confirmed" = ? where "user_id" = ? and "confirmed" = ?;
-- access.countPasskeys
select count(*) as "count" from "passkey" where "user_id" = ?;
-- access.countPolicyAttachments
select count(*) as "count" from "policy_attachment" where "policy_id" = ?;
-- access.countRecoveryCodes
select count(*) as "count" from "recovery_code" where "user_id" = ?;
-- access.countUsers
select count(*) as "count" from "user";
-- access.deleteAssignment
delete from "role_assignment" where "id" = ?;
-- access.deleteAssignmentsOfProject
delete from "role_assignment" where "project_id" = ?;
-- access.deleteAssignmentsOfSubject
delete from "role_assignment" where "subject_kind" = ? and "subject_id" = ?;
-- access.deleteExpiredSessions
delete from "session" where "expires_at" <= ?;
-- access.deleteForgivenFailures
delete from "login_failure" where "last_at" < ?;
-- access.deleteGroup
delete from "user_group" where "id" = ?;
-- access.deleteGroupMember
delete from "group_member" where "group_id" = ? and "user_id" = ? and "source" = ?;
-- access.deleteGroupMembers
delete from "group_member" where "group_id" = ?;
-- access.deleteLoginSources
delete from "login_source" where "user_id" = ?;
-- access.deleteMemberships
delete from "group_member" where "user_id" = ?;
-- access.deleteOldestSessions
delete from "session" where "user_id" = ? and "id" not in (select "newest"."id" from "session" as "newest" where "newest"."user_id" = ? order by "newest"."id" desc limit ?);
-- access.deletePasskey
delete from "passkey" where "id" = ? and "user_id" = ?;
-- access.deletePasskeysOf
delete from "passkey" where "user_id" = ?;
-- access.deletePasswordHistory
delete from "password_history" where "user_id" = ?;
-- access.deletePolicy
delete from "policy" where "id" = ?;
-- access.deletePolicyAttachmentsOfSubject
delete from "policy_attachment" where "subject_kind" = ? and "subject_id" = ?;
-- access.deleteProjectRole
delete from "role_assignment" where "subject_kind" = ? and "subject_id" = ? and "project_id" = ? and "pattern" is null;
-- access.deleteRecoveryCode
delete from "recovery_code" where "user_id" = ? and "hash" = ?;
-- access.deleteRecoveryCodes
delete from "recovery_code" where "user_id" = ?;
-- access.deleteRole
delete from "role" where "name" = ?;
-- access.deleteSession
delete from "session" where "id" = ? and "user_id" = ?;
-- access.deleteSessionsOf
delete from "session" where "user_id" = ? and "id" != ?;
-- access.deleteSpentChallenges
delete from "spent_challenge" where "expires_at" < ?;
-- access.deleteTotp
delete from "totp" where "user_id" = ?;
-- access.deleteUser
delete from "user" where "id" = ?;
-- access.detachPolicy
delete from "policy_attachment" where "policy_id" = ? and "subject_kind" = ? and "subject_id" = ?;
-- access.groupByName
select "user_group"."id", "user_group"."name", "user_group"."description", "user_group"."created_at" as "createdAt", "user_group"."version" from "user_group" where "user_group"."name" = ?;
-- access.groupKey
select "id" from "user_group" where "name" = ?;
-- access.groupMembers
select "user"."name", "group_member"."source" from "group_member" inner join "user" on "user"."id" = "group_member"."user_id" where "group_member"."group_id" = ? and "user"."name" >= ? and ("user"."name" > ? or "group_member"."source" > ?) and lower("user"."name") like ? escape '\' order by "user"."name" asc, "group_member"."source" asc limit ?;
-- access.groupsByName
select "user_group"."id", "user_group"."name", "user_group"."description", "user_group"."created_at" as "createdAt", "user_group"."version" from "user_group" where "user_group"."name" > ? and lower("user_group"."name") like ? escape '\' order by "user_group"."name" asc limit ?;
-- access.groupsByNameDown
select "user_group"."id", "user_group"."name", "user_group"."description", "user_group"."created_at" as "createdAt", "user_group"."version" from "user_group" where "user_group"."name" < ? and lower("user_group"."name") like ? escape '\' order by "user_group"."name" desc limit ?;
-- access.insertAssignment
insert into "role_assignment" ("subject_kind", "subject_id", "role", "permissions", "project_id", "pattern", "created_at", "created_by") values (?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- access.insertGroup
insert into "user_group" ("name", "description", "created_at", "version") values (?, ?, ?, ?) on conflict ("name") do nothing returning "id";
-- access.insertGroupMember
insert into "group_member" ("group_id", "user_id", "source") values (?, ?, ?) on conflict ("user_id", "group_id", "source") do nothing;
-- access.insertPasskey
insert into "passkey" ("user_id", "credential_id", "public_key", "counter", "transports", "name", "created_at", "last_used_at") values (?, ?, ?, ?, ?, ?, ?, ?) on conflict ("credential_id") do nothing returning "id";
-- access.insertPasswordHistory
insert into "password_history" ("user_id", "replaced_at", "hash") values (?, ?, ?);
-- access.insertPolicy
insert into "policy" ("name", "description", "document", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?) on conflict ("name") do nothing;
-- access.insertRecoveryCode
insert into "recovery_code" ("user_id", "hash") values (?, ?);
-- access.insertRole
insert into "role" ("name", "description", "permissions", "created_at", "version") values (?, ?, ?, ?, ?) on conflict ("name") do nothing;
-- access.insertSession
insert into "session" ("hash", "user_id", "generation", "provider", "created_at", "last_seen_at", "expires_at", "client", "user_agent") values (?, ?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- access.insertSpentChallenge
insert into "spent_challenge" ("challenge", "expires_at") values (?, ?) on conflict ("challenge") do nothing;
-- access.insertTotp
insert into "totp" ("user_id", "seed", "confirmed", "last_step", "created_at") values (?, ?, ?, ?, ?);
-- access.insertUser
insert into "user" ("name", "password_hash", "disabled", "generation", "created_at", "email", "full_name", "version") values (?, ?, ?, ?, ?, ?, ?, ?) on conflict ("name") do nothing returning "id";
-- access.loginFailure
select "level", "last_at" as "lastAt", "guesses" from "login_failure" where "key" = ?;
-- access.loginSource
select "last_at" as "lastAt" from "login_source" where "user_id" = ? and "source" = ?;
-- access.memberOf
select "project"."id" as "projectId", "user"."id" as "userId" from "project", "user" where "project"."name" = ? and "user"."name" = ?;
-- access.members
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where "role_assignment"."project_id" = ? and "role_assignment"."created_at" >= ? and ("role_assignment"."created_at" > ? or "role_assignment"."id" > ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by "role_assignment"."created_at" asc, "role_assignment"."id" asc limit ?;
-- access.membersByName
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where "role_assignment"."project_id" = ? and coalesce("user".name, user_group.name, robot.name, '') >= ? and (coalesce("user".name, user_group.name, robot.name, '') > ? or "role_assignment"."id" > ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by coalesce("user".name, user_group.name, robot.name, '') asc, "role_assignment"."id" asc limit ?;
-- access.membersByNameDown
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where "role_assignment"."project_id" = ? and coalesce("user".name, user_group.name, robot.name, '') <= ? and (coalesce("user".name, user_group.name, robot.name, '') < ? or "role_assignment"."id" < ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by coalesce("user".name, user_group.name, robot.name, '') desc, "role_assignment"."id" desc limit ?;
-- access.membersDown
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where "role_assignment"."project_id" = ? and "role_assignment"."created_at" <= ? and ("role_assignment"."created_at" < ? or "role_assignment"."id" < ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by "role_assignment"."created_at" desc, "role_assignment"."id" desc limit ?;
-- access.passkeyByCredential
select "passkey"."id", "passkey"."public_key" as "publicKey", "passkey"."counter", "user"."id" as "userId", "user"."name" as "userName", "user"."disabled", "user"."generation" from "passkey" inner join "user" on "user"."id" = "passkey"."user_id" where "passkey"."credential_id" = ?;
-- access.passkeysOf
select "id", "name", "credential_id" as "credentialId", "transports", "created_at" as "createdAt", "last_used_at" as "lastUsedAt" from "passkey" where "user_id" = ? order by "id" asc;
-- access.passwordHistory
select "hash" from "password_history" where "user_id" = ? order by "replaced_at" desc limit ?;
-- access.policies
select "id", "name", "description", "document", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "policy" where "name" > ? and lower("name") like ? escape '\' order by "name" asc limit ?;
-- access.policiesAttachedTo
select "policy"."id", "policy"."name", "policy"."document", "policy"."version", "user_group"."name" as "group" from "policy_attachment" inner join "policy" on "policy"."id" = "policy_attachment"."policy_id" left join "user_group" on "user_group"."id" = "policy_attachment"."subject_id" and "policy_attachment"."subject_kind" = ? where (("policy_attachment"."subject_kind" = ? and "policy_attachment"."subject_id" = ?) or (? = ? and "policy_attachment"."subject_kind" = ? and "policy_attachment"."subject_id" in (select "group_id" from "group_member" where "user_id" = ?)));
-- access.policiesDown
select "id", "name", "description", "document", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "policy" where "name" < ? and lower("name") like ? escape '\' order by "name" desc limit ?;
-- access.policiesOfRobot
select "id", "name", "description", "document", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "policy" where "id" in (select "policy_id" from "policy_attachment" where "subject_kind" = ? and "subject_id" = ?) order by "id";
-- access.policyAttachments
select "policy_attachment"."subject_kind" as "kind", coalesce("user".name, user_group.name, robot.name, '') as "name", "policy_attachment"."created_at" as "createdAt", "policy_attachment"."created_by" as "createdBy" from "policy_attachment" left join "user" on "user"."id" = "policy_attachment"."subject_id" and "policy_attachment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "policy_attachment"."subject_id" and "policy_attachment"."subject_kind" = ? left join "robot" on "robot"."id" = "policy_attachment"."subject_id" and "policy_attachment"."subject_kind" = ? where "policy_attachment"."policy_id" = ? order by "policy_attachment"."subject_kind", "policy_attachment"."subject_id" limit ?;
-- access.policyBinds
select "policy_id" from "policy_attachment" where "policy_id" = ? and (("subject_kind" = ? and "subject_id" = ?) or (? = ? and "subject_kind" = ? and "subject_id" in (select "group_id" from "group_member" where "user_id" = ?))) limit ?;
-- access.policyByName
select "id", "name", "description", "document", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "policy" where "name" = ?;
-- access.raiseGeneration
update "user" set "generation" = "generation" + ?, "version" = "version" + ? where "id" = ? returning "generation";
-- access.raiseVersion
update "access_state" set "version" = "version" + ? where "id" = ?;
-- access.recoveryCode
select "hash" from "recovery_code" where "user_id" = ? and "hash" = ?;
-- access.rightsOfGroup
select "role_assignment"."role", "role_assignment"."permissions", "project"."name" as "project", "role"."permissions" as "custom" from "role_assignment" left join "project" on "project"."id" = "role_assignment"."project_id" left join "role" on "role"."name" = "role_assignment"."role" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = ?;
-- access.rightsOfUser
select "role_assignment"."role", "role_assignment"."permissions", "project"."name" as "project", "role"."permissions" as "custom" from "role_assignment" left join "project" on "project"."id" = "role_assignment"."project_id" left join "role" on "role"."name" = "role_assignment"."role" where (("role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = ?) or ("role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" in (select "group_id" from "group_member" where "user_id" = ?)));
-- access.robotKey
select "id", "project_id" as "projectId" from "robot" where "name" = ?;
-- access.roleByName
select "name", "description", "permissions", "created_at" as "createdAt", "version" from "role" where "name" = ?;
-- access.roles
select "name", "description", "permissions", "created_at" as "createdAt", "version" from "role" where "name" > ? and lower("name") like ? escape '\' order by "name" asc limit ?;
-- access.rolesDown
select "name", "description", "permissions", "created_at" as "createdAt", "version" from "role" where "name" < ? and lower("name") like ? escape '\' order by "name" desc limit ?;
-- access.sameAssignment
select "id" from "role_assignment" where "subject_kind" = ? and "subject_id" = ? and coalesce(project_id, 0) = ? and coalesce(pattern, '') = ? and "id" != ? limit ?;
-- access.seenProjects
select "project"."name" from "project" where "project"."name" > ? and (? = ? or "project"."public" = ? or exists (select "own"."id" from "role_assignment" as "own" where "own"."project_id" = "project"."id" and "own"."subject_kind" = ? and "own"."subject_id" = ?) or exists (select "shared"."id" from "role_assignment" as "shared" inner join "group_member" on "group_member"."group_id" = "shared"."subject_id" where "shared"."project_id" = "project"."id" and "shared"."subject_kind" = ? and "group_member"."user_id" = ? and ? = ?)) order by "project"."name" asc limit ?;
-- access.seenProjectsDescending
select "project"."name" from "project" where "project"."name" < ? and (? = ? or "project"."public" = ? or exists (select "own"."id" from "role_assignment" as "own" where "own"."project_id" = "project"."id" and "own"."subject_kind" = ? and "own"."subject_id" = ?) or exists (select "shared"."id" from "role_assignment" as "shared" inner join "group_member" on "group_member"."group_id" = "shared"."subject_id" where "shared"."project_id" = "project"."id" and "shared"."subject_kind" = ? and "group_member"."user_id" = ? and ? = ?)) order by "project"."name" desc limit ?;
-- access.sessionByHash
select "session"."id", "session"."generation", "session"."last_seen_at" as "lastSeenAt", "session"."expires_at" as "expiresAt", "user"."id" as "userId", "user"."name" as "userName", "user"."disabled", "user"."generation" as "userGeneration" from "session" inner join "user" on "user"."id" = "session"."user_id" where "session"."hash" = ?;
-- access.sessionsOf
select "session"."id", "session"."provider", "session"."created_at" as "createdAt", "session"."last_seen_at" as "lastSeenAt", "session"."expires_at" as "expiresAt", "session"."client", "session"."user_agent" as "userAgent" from "session" inner join "user" on "user"."id" = "session"."user_id" and "user"."generation" = "session"."generation" and "user"."disabled" = ? where "session"."user_id" = ? and "session"."expires_at" > ? and "session"."last_seen_at" > ? order by "session"."id" desc;
-- access.stateVersion
select "version" from "access_state" where "id" = ?;
-- access.systemAssignments
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where ("role_assignment"."project_id" is null and ? = ?) and "role_assignment"."created_at" >= ? and ("role_assignment"."created_at" > ? or "role_assignment"."id" > ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by "role_assignment"."created_at" asc, "role_assignment"."id" asc limit ?;
-- access.systemAssignmentsByName
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where ("role_assignment"."project_id" is null and ? = ?) and coalesce("user".name, user_group.name, robot.name, '') >= ? and (coalesce("user".name, user_group.name, robot.name, '') > ? or "role_assignment"."id" > ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by coalesce("user".name, user_group.name, robot.name, '') asc, "role_assignment"."id" asc limit ?;
-- access.systemAssignmentsByNameDown
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where ("role_assignment"."project_id" is null and ? = ?) and coalesce("user".name, user_group.name, robot.name, '') <= ? and (coalesce("user".name, user_group.name, robot.name, '') < ? or "role_assignment"."id" < ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by coalesce("user".name, user_group.name, robot.name, '') desc, "role_assignment"."id" desc limit ?;
-- access.systemAssignmentsDown
select "role_assignment"."id", "role_assignment"."subject_kind" as "kind", "role_assignment"."subject_id" as "subjectId", coalesce("user".name, user_group.name, robot.name, '') as "name", "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "role_assignment"."project_id" as "projectId", "role_assignment"."created_at" as "createdAt", "role_assignment"."created_by" as "createdBy" from "role_assignment" left join "user" on "user"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "user_group" on "user_group"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? left join "robot" on "robot"."id" = "role_assignment"."subject_id" and "role_assignment"."subject_kind" = ? where ("role_assignment"."project_id" is null and ? = ?) and "role_assignment"."created_at" <= ? and ("role_assignment"."created_at" < ? or "role_assignment"."id" < ?) and (? = ? or "role_assignment"."subject_kind" = ?) and (? = ? or "role_assignment"."role" = ?) and lower(coalesce("user".name, user_group.name, robot.name, '')) like ? escape '\' order by "role_assignment"."created_at" desc, "role_assignment"."id" desc limit ?;
-- access.takeSystemAdmin
delete from "role_assignment" where "subject_kind" = ? and "subject_id" = ? and "role" = ? and "project_id" is null and "pattern" is null;
-- access.takeTotpStep
update "totp" set "last_step" = ? where "user_id" = ? and "last_step" < ?;
-- access.totpOf
select "seed", "confirmed", "last_step" as "lastStep" from "totp" where "user_id" = ?;
-- access.touchSession
update "session" set "last_seen_at" = ? where "id" = ? and "last_seen_at" <= ?;
-- access.trimLoginSources
delete from "login_source" where "user_id" = ? and "source" not in (select "newest"."source" from "login_source" as "newest" where "newest"."user_id" = ? order by "newest"."last_at" desc limit ?);
-- access.trimPasswordHistory
delete from "password_history" where "user_id" = ? and "replaced_at" not in (select "newest"."replaced_at" from "password_history" as "newest" where "newest"."user_id" = ? order by "newest"."replaced_at" desc limit ?);
-- access.updateAccount
update "user" set "email" = ?, "full_name" = ?, "disabled" = ?, "generation" = "generation" + ?, "version" = "version" + ? where "id" = ?;
-- access.updateAssignment
update "role_assignment" set "role" = ?, "permissions" = ?, "pattern" = ? where "id" = ?;
-- access.updateDisabled
update "user" set "disabled" = ?, "generation" = "generation" + ?, "version" = "version" + ? where "name" = ?;
-- access.updateGroup
update "user_group" set "description" = ?, "version" = "version" + ? where "id" = ?;
-- access.updatePassword
update "user" set "password_hash" = ?, "generation" = "generation" + ?, "version" = "version" + ?, "disabled" = ? where "name" = ?;
-- access.updatePasswordHash
update "user" set "password_hash" = ?, "generation" = "generation" + ?, "version" = "version" + ? where "id" = ? returning "generation";
-- access.updatePolicy
update "policy" set "description" = ?, "document" = ?, "version" = "version" + ? where "id" = ?;
-- access.updateRole
update "role" set "description" = ?, "permissions" = ?, "version" = "version" + ? where "name" = ?;
-- access.upsertLoginFailure
insert into "login_failure" ("key", "level", "last_at", "guesses") values (?, ?, ?, ?) on conflict ("key") do update set "level" = "excluded"."level", "last_at" = "excluded"."last_at", "guesses" = "excluded"."guesses";
-- access.upsertLoginSource
insert into "login_source" ("user_id", "source", "last_at") values (?, ?, ?) on conflict ("user_id", "source") do update set "last_at" = "excluded"."last_at";
-- access.usePasskey
update "passkey" set "counter" = ?, "last_used_at" = ? where "id" = ? and "counter" = ?;
-- access.userById
select "id", "name", "password_hash" as "passwordHash", "disabled", "generation" from "user" where "id" = ?;
-- access.userByName
select "id", "name", "password_hash" as "passwordHash", "disabled", "generation" from "user" where "name" = ?;
-- access.userKey
select "id" from "user" where "name" = ?;
-- adoption.countFindings
select "kind", count(*) as "count" from "adoption_finding" where "run_id" = ? group by "kind";
-- adoption.endAnyLease
delete from "adoption_lease";
-- adoption.endLease
delete from "adoption_lease" where "holder" = ?;
-- adoption.finding
select "detail" from "adoption_finding" where "run_id" = ? and "kind" = ? and "repository" = ? and "subject" = ?;
-- adoption.findings
select "kind", "repository", "subject", "detail" from "adoption_finding" where "run_id" = ? and (? = ? or "kind" = ?) and ("kind" > ? or ("kind" = ? and "repository" > ?) or ("kind" = ? and "repository" = ? and "subject" > ?)) order by "kind", "repository", "subject" limit ?;
-- adoption.findingsAfter
select "repository", "subject", "detail" from "adoption_finding" where "run_id" = ? and "kind" = ? and ("repository" > ? or ("repository" = ? and "subject" > ?)) order by "repository", "subject" limit ?;
-- adoption.forgetFindings
delete from "adoption_finding" where "run_id" in (select "adoption_run"."id" from "adoption_run" where "source" = ? and "adoption_run"."id" < ? limit ?);
-- adoption.insertFinding
insert into "adoption_finding" ("run_id", "kind", "repository", "subject", "detail") values (?, ?, ?, ?, ?) on conflict ("run_id", "kind", "repository", "subject") do nothing;
-- adoption.insertRun
insert into "adoption_run" ("source", "wishes", "cursor", "counts", "started_at", "finished_at") values (?, ?, ?, ?, ?, ?) returning "id";
-- adoption.lastRun
select "id", "source", "wishes", "cursor", "counts", "started_at" as "startedAt", "finished_at" as "finishedAt" from "adoption_run" order by "id" desc limit ?;
-- adoption.lease
select "who", "run_id" as "runId", "taken_at" as "takenAt", "held_until" as "heldUntil" from "adoption_lease" where "id" = ?;
-- adoption.leaseForRun
update "adoption_lease" set "run_id" = ? where "holder" = ?;
-- adoption.renewLease
update "adoption_lease" set "held_until" = ? where "holder" = ?;
-- adoption.run
select "id", "source", "wishes", "cursor", "counts", "started_at" as "startedAt", "finished_at" as "finishedAt" from "adoption_run" where "id" = ?;
-- adoption.runs
select "id", "source", "wishes", "cursor", "counts", "started_at" as "startedAt", "finished_at" as "finishedAt" from "adoption_run" where "id" > ? order by "id" asc limit ?;
-- adoption.runsDown
select "id", "source", "wishes", "cursor", "counts", "started_at" as "startedAt", "finished_at" as "finishedAt" from "adoption_run" where "id" < ? order by "id" desc limit ?;
-- adoption.saveRun
update "adoption_run" set "cursor" = ?, "counts" = ?, "finished_at" = ? where "id" = ?;
-- adoption.takeLease
insert into "adoption_lease" ("id", "holder", "who", "run_id", "taken_at", "held_until") values (?, ?, ?, ?, ?, ?) on conflict ("id") do update set "holder" = "excluded"."holder", "who" = "excluded"."who", "run_id" = "excluded"."run_id", "taken_at" = "excluded"."taken_at", "held_until" = "excluded"."held_until" where "adoption_lease"."held_until" <= ?;
-- adoption.unfinishedRun
select "id", "source", "wishes", "cursor", "counts", "started_at" as "startedAt", "finished_at" as "finishedAt" from "adoption_run" where "source" = ? and "wishes" = ? and "finished_at" is null order by "id" desc limit ?;
-- audit.head
select "seq", "hash" from "audit_head" where "id" = ?;
-- audit.insertRecord
insert into "audit_record" ("seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash") values (?, ?, ?, ?, ?, ?, ?, ?, ?);
-- audit.moveHead
insert into "audit_head" ("id", "seq", "hash") values (?, ?, ?) on conflict ("id") do update set "seq" = "excluded"."seq", "hash" = "excluded"."hash";
-- catalog.addProjectBlob
insert into "project_blob" ("project_id", "digest", "size", "links") select "repository"."project_id", cast(? as text) as "digest", cast(? as bigint) as "size", 1 as "links" from "repository" where "repository"."id" = ? on conflict ("project_id", "digest") do update set "links" = "project_blob"."links" + ? returning "project_blob"."links", (select min(project.id) from project where project.encryption_key is not null) as "keyed";
-- catalog.addUsage
insert into "project_usage" ("project_id", "stripe", "bytes", "repositories", "tags", "changes") select "repository"."project_id", repository.id % 32 as "stripe", cast(? as bigint) as "bytes", cast(? as bigint) as "repositories", cast(? as bigint) as "tags", 1 as "changes" from "repository" where "repository"."id" = ? on conflict ("project_id", "stripe") do update set "bytes" = "project_usage"."bytes" + "excluded"."bytes", "repositories" = "project_usage"."repositories" + "excluded"."repositories", "tags" = "project_usage"."tags" + "excluded"."tags", "changes" = "project_usage"."changes" + ? returning "project_usage"."project_id" as "projectId", (select "project_quota"."version" from "project_quota" where "project_quota"."project_id" = "project_usage"."project_id") as "limited";
-- catalog.adjustUsage
insert into "project_usage" ("project_id", "stripe", "bytes", "repositories", "tags", "changes") values (?, ?, ?, ?, ?, ?) on conflict ("project_id", "stripe") do update set "bytes" = "project_usage"."bytes" + "excluded"."bytes", "repositories" = "project_usage"."repositories" + "excluded"."repositories", "tags" = "project_usage"."tags" + "excluded"."tags", "changes" = "project_usage"."changes" + ?;
-- catalog.adoptTag
insert into "tag" ("repository_id", "name", "digest", "updated_at", "updated_by") select "manifest"."repository_id", cast(? as text) as "name", "manifest"."digest", cast(? as bigint) as "updated_at", cast(? as text) as "updated_by" from "manifest" where "manifest"."repository_id" = ? and "manifest"."digest" = ? on conflict ("repository_id", "name") do nothing;
-- catalog.adoptTrashItems
update "trash_item" set "with_id" = ? where "with_id" = ?;
-- catalog.anyAlert
select "told_at" from "quota_alert" where "project_id" = ? and "quota" = ? limit ?;
-- catalog.anyRepository
select "id" from "repository" where "project_id" = ? limit ?;
-- catalog.anyTrash
select "id" from "trash_item" where "project_id" = ? limit ?;
-- catalog.artifactFacts
select "manifest"."id", "manifest"."digest", "manifest"."media_type" as "mediaType", "manifest"."artifact_type" as "artifactType", "manifest"."size" as "manifestSize", "manifest"."content_size" as "size", "manifest"."subject", "manifest"."annotations", "manifest"."created_at" as "pushedAt", "manifest"."created_by" as "pushedBy", "manifest_pull"."last_at" as "pulledAt", "manifest_pull"."pulls" from "manifest" left join "manifest_pull" on "manifest_pull"."repository_id" = "manifest"."repository_id" and "manifest_pull"."digest" = "manifest"."digest" where "manifest"."repository_id" = ? and "manifest"."digest" = ?;
-- catalog.artifactWindowByAge
select "manifest"."id", "manifest"."content_size" as "size" from "manifest" where "manifest"."repository_id" = ? and "manifest"."id" >= ? and ("manifest"."id" > ? or "manifest"."id" > ?) order by "manifest"."id" asc, "manifest"."id" asc limit ? offset ?;
-- catalog.artifactWindowByAgeDown
select "manifest"."id", "manifest"."content_size" as "size" from "manifest" where "manifest"."repository_id" = ? and "manifest"."id" <= ? and ("manifest"."id" < ? or "manifest"."id" < ?) order by "manifest"."id" desc, "manifest"."id" desc limit ? offset ?;
-- catalog.artifactWindowBySize
select "manifest"."id", "manifest"."content_size" as "size" from "manifest" where "manifest"."repository_id" = ? and "manifest"."content_size" >= ? and ("manifest"."content_size" > ? or "manifest"."id" > ?) order by "manifest"."content_size" asc, "manifest"."id" asc limit ? offset ?;
-- catalog.artifactWindowBySizeDown
select "manifest"."id", "manifest"."content_size" as "size" from "manifest" where "manifest"."repository_id" = ? and "manifest"."content_size" <= ? and ("manifest"."content_size" < ? or "manifest"."id" < ?) order by "manifest"."content_size" desc, "manifest"."id" desc limit ? offset ?;
-- catalog.artifactsByAge
select "manifest"."id", "manifest"."digest", "manifest"."media_type" as "mediaType", "manifest"."artifact_type" as "artifactType", "manifest"."size" as "manifestSize", "manifest"."content_size" as "size", "manifest"."subject", "manifest"."annotations", "manifest"."created_at" as "pushedAt", "manifest"."created_by" as "pushedBy", "manifest_pull"."last_at" as "pulledAt", "manifest_pull"."pulls" from "manifest" left join "manifest_pull" on "manifest_pull"."repository_id" = "manifest"."repository_id" and "manifest_pull"."digest" = "manifest"."digest" where "manifest"."repository_id" = ? and "manifest"."id" >= ? and ("manifest"."id" > ? or "manifest"."id" > ?) and "manifest"."id" <= ? and ("manifest"."id" < ? or "manifest"."id" <= ?) and (? = ? or "manifest"."media_type" = ?) and (? = ? or "manifest"."artifact_type" = ?) and (? = -1 or (? = 1 and exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest)) or (? = 0 and not exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) and (? = 0 or ((manifest.subject is null and not exists (select 1 from manifest_reference as part where part.repository_id = manifest.repository_id
  and part.digest = manifest.digest and part.kind = 'manifest')) or exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) order by "manifest"."id" asc, "manifest"."id" asc limit ?;
-- catalog.artifactsByAgeDown
select "manifest"."id", "manifest"."digest", "manifest"."media_type" as "mediaType", "manifest"."artifact_type" as "artifactType", "manifest"."size" as "manifestSize", "manifest"."content_size" as "size", "manifest"."subject", "manifest"."annotations", "manifest"."created_at" as "pushedAt", "manifest"."created_by" as "pushedBy", "manifest_pull"."last_at" as "pulledAt", "manifest_pull"."pulls" from "manifest" left join "manifest_pull" on "manifest_pull"."repository_id" = "manifest"."repository_id" and "manifest_pull"."digest" = "manifest"."digest" where "manifest"."repository_id" = ? and "manifest"."id" <= ? and ("manifest"."id" < ? or "manifest"."id" < ?) and "manifest"."id" >= ? and ("manifest"."id" > ? or "manifest"."id" >= ?) and (? = ? or "manifest"."media_type" = ?) and (? = ? or "manifest"."artifact_type" = ?) and (? = -1 or (? = 1 and exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest)) or (? = 0 and not exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) and (? = 0 or ((manifest.subject is null and not exists (select 1 from manifest_reference as part where part.repository_id = manifest.repository_id
  and part.digest = manifest.digest and part.kind = 'manifest')) or exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) order by "manifest"."id" desc, "manifest"."id" desc limit ?;
-- catalog.artifactsBySize
select "manifest"."id", "manifest"."digest", "manifest"."media_type" as "mediaType", "manifest"."artifact_type" as "artifactType", "manifest"."size" as "manifestSize", "manifest"."content_size" as "size", "manifest"."subject", "manifest"."annotations", "manifest"."created_at" as "pushedAt", "manifest"."created_by" as "pushedBy", "manifest_pull"."last_at" as "pulledAt", "manifest_pull"."pulls" from "manifest" left join "manifest_pull" on "manifest_pull"."repository_id" = "manifest"."repository_id" and "manifest_pull"."digest" = "manifest"."digest" where "manifest"."repository_id" = ? and "manifest"."content_size" >= ? and ("manifest"."content_size" > ? or "manifest"."id" > ?) and "manifest"."content_size" <= ? and ("manifest"."content_size" < ? or "manifest"."id" <= ?) and (? = ? or "manifest"."media_type" = ?) and (? = ? or "manifest"."artifact_type" = ?) and (? = -1 or (? = 1 and exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest)) or (? = 0 and not exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) and (? = 0 or ((manifest.subject is null and not exists (select 1 from manifest_reference as part where part.repository_id = manifest.repository_id
  and part.digest = manifest.digest and part.kind = 'manifest')) or exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) order by "manifest"."content_size" asc, "manifest"."id" asc limit ?;
-- catalog.artifactsBySizeDown
select "manifest"."id", "manifest"."digest", "manifest"."media_type" as "mediaType", "manifest"."artifact_type" as "artifactType", "manifest"."size" as "manifestSize", "manifest"."content_size" as "size", "manifest"."subject", "manifest"."annotations", "manifest"."created_at" as "pushedAt", "manifest"."created_by" as "pushedBy", "manifest_pull"."last_at" as "pulledAt", "manifest_pull"."pulls" from "manifest" left join "manifest_pull" on "manifest_pull"."repository_id" = "manifest"."repository_id" and "manifest_pull"."digest" = "manifest"."digest" where "manifest"."repository_id" = ? and "manifest"."content_size" <= ? and ("manifest"."content_size" < ? or "manifest"."id" < ?) and "manifest"."content_size" >= ? and ("manifest"."content_size" > ? or "manifest"."id" >= ?) and (? = ? or "manifest"."media_type" = ?) and (? = ? or "manifest"."artifact_type" = ?) and (? = -1 or (? = 1 and exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest)) or (? = 0 and not exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) and (? = 0 or ((manifest.subject is null and not exists (select 1 from manifest_reference as part where part.repository_id = manifest.repository_id
  and part.digest = manifest.digest and part.kind = 'manifest')) or exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest))) order by "manifest"."content_size" desc, "manifest"."id" desc limit ?;
-- catalog.blobHeldOutside
select "link"."repository_id" from "repository_blob" as "link" where "link"."digest" = ? and "link"."repository_id" != ? and (? = ? or "link"."repository_id" in (select "repository"."id" from "repository" where "repository"."project_id" = ?)) and (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "link"."repository_id" and "need"."digest" = "link"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "link"."repository_id" and "kept"."digest" = "link"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0)) limit ?;
-- catalog.blobKeptInTrash
select "item_id" from "trash_reference" where "repository_id" = ? and "digest" = ? and "kind" = ? limit ?;
-- catalog.blobKeysDue
insert into "blob_key_due" ("digest", "version", "due_at") values (?, ?, ?) on conflict ("digest") do update set "version" = "blob_key_due"."version" + ?, "due_at" = ?;
-- catalog.blobKeysDueIfHeld
insert into "blob_key_due" ("digest", "version", "due_at") select cast(? as text) as "digest", 1 as "version", 0 as "due_at" from "project" inner join "project_blob" on "project_blob"."project_id" = "project"."id" where "project"."encryption_key" is not null and "project_blob"."digest" = ? limit ? on conflict ("digest") do update set "version" = "blob_key_due"."version" + ?, "due_at" = ?;
-- catalog.blobSize
select "size", "unneeded_since" as "unneededSince" from "repository_blob" where "repository_id" = ? and "digest" = ? and not exists (select "damaged_blob"."digest" from "damaged_blob" where "damaged_blob"."digest" = "repository_blob"."digest");
-- catalog.blobsAstray
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "parent"."digest" as "name", "need"."digest" as "other" from "manifest_reference" as "need" inner join "manifest" as "parent" on "parent"."id" = "need"."manifest_id" inner join "repository" on "repository"."id" = "need"."repository_id" left join "repository_blob" as "link" on "link"."repository_id" = "need"."repository_id" and "link"."digest" = "need"."digest" where "need"."kind" = ? and "link"."digest" is null and "repository"."deleted_at" is null limit ?;
-- catalog.blobsCounted
select "counted"."digest", "counted"."size", "counted"."links", (select count(*) from repository_blob join repository on repository.id = repository_blob.repository_id
  where repository_blob.digest = counted.digest and repository.project_id = counted.project_id) as "found" from "project_blob" as "counted" where "counted"."project_id" = ? and "counted"."digest" > ? order by "counted"."digest" limit ?;
-- catalog.blobsLinked
select "repository_blob"."digest", "project_blob"."links" from "repository_blob" left join "project_blob" on "project_blob"."digest" = "repository_blob"."digest" and "project_blob"."project_id" = ? where "repository_blob"."repository_id" = ? and "repository_blob"."digest" > ? order by "repository_blob"."digest" limit ?;
-- catalog.blobsMissingToRestore
select "trash_reference"."digest", "damaged_blob"."digest" as "damaged" from "trash_reference" left join "repository_blob" on "repository_blob"."repository_id" = "trash_reference"."repository_id" and "repository_blob"."digest" = "trash_reference"."digest" left join "damaged_blob" on "damaged_blob"."digest" = "trash_reference"."digest" where "trash_reference"."item_id" = ? and "trash_reference"."kind" = ? and ("repository_blob"."digest" is null or "damaged_blob"."digest" is not null) limit ?;
-- catalog.blobsOfProject
select "digest" from "project_blob" where "project_id" = ? and "digest" > ? order by "digest" limit ?;
-- catalog.blobsOnlyHere
select "mine"."digest", "mine"."size", exists (select "link"."repository_id" from "repository_blob" as "link" where "link"."digest" = "mine"."digest" and "link"."repository_id" != ? and (? = ? or "link"."repository_id" in (select "repository"."id" from "repository" where "repository"."project_id" = ?)) and (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "link"."repository_id" and "need"."digest" = "link"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "link"."repository_id" and "kept"."digest" = "link"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0))) as "held" from "repository_blob" as "mine" where "mine"."repository_id" = ? and "mine"."digest" > ? order by "mine"."digest" limit ?;
-- catalog.childrenAstray
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "parent"."digest" as "name", "need"."digest" as "other" from "manifest_reference" as "need" inner join "manifest" as "parent" on "parent"."id" = "need"."manifest_id" inner join "repository" on "repository"."id" = "need"."repository_id" left join "manifest" as "child" on "child"."repository_id" = "need"."repository_id" and "child"."digest" = "need"."digest" where "need"."kind" = ? and "child"."id" is null and "repository"."deleted_at" is null limit ?;
-- catalog.childrenMissingToRestore
select "trash_reference"."digest" from "trash_reference" left join "manifest" on "manifest"."repository_id" = "trash_reference"."repository_id" and "manifest"."digest" = "trash_reference"."digest" where "trash_reference"."item_id" = ? and "trash_reference"."kind" = ? and "manifest"."id" is null order by "trash_reference"."digest" limit ?;
-- catalog.claimStored
insert into "stored_blob" ("digest", "size", "state", "review_at", "stored_at") values (?, ?, ?, ?, ?) on conflict ("digest") do update set "state" = ?, "review_at" = case when ("stored_blob"."state" = ? and "stored_blob"."review_at" > "excluded"."review_at") then "stored_blob"."review_at" else "excluded"."review_at" end where ("stored_blob"."state" != ? or "stored_blob"."review_at" <= ?) returning "generation";
-- catalog.clearAlert
delete from "quota_alert" where "project_id" = ? and "quota" = ?;
-- catalog.clearUploadLeases
update "upload_session" set "lease" = ?, "lease_until" = ? where "lease" is not null;
-- catalog.clearUploadLeasesOf
update "upload_session" set "lease" = ?, "lease_until" = ? where "lease" >= ? and "lease" < ?;
-- catalog.contentAstray
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "manifest"."digest" as "name", case when content.manifest_id is null then 'no' else 'other' end as "other" from "manifest" inner join "repository" on "repository"."id" = "manifest"."repository_id" left join "manifest_content" as "content" on "content"."manifest_id" = "manifest"."id" where ("content"."manifest_id" is null or length(content.bytes) != manifest.size) limit ?;
-- catalog.contentInTrash
select "bytes" from "trash_content" where "item_id" = ?;
-- catalog.contentSize
select "content_size" as "size" from "manifest" where "repository_id" = ? and "digest" = ?;
-- catalog.copyContentToTrash
insert into "trash_content" ("item_id", "bytes") select cast(? as integer) as "item_id", "bytes" from "manifest_content" where "manifest_id" = ?;
-- catalog.copyReferencesToTrash
insert into "trash_reference" ("item_id", "repository_id", "digest", "kind") select cast(? as integer) as "item_id", "repository_id", "digest", "kind" from "manifest_reference" where "manifest_id" = ?;
-- catalog.countArtifacts
select count(*) as "count" from (select "manifest"."id" from "manifest" where "manifest"."repository_id" = ? and ((manifest.subject is null and not exists (select 1 from manifest_reference as part where part.repository_id = manifest.repository_id
  and part.digest = manifest.digest and part.kind = 'manifest')) or exists (select 1 from tag where tag.repository_id = manifest.repository_id and tag.digest = manifest.digest)) limit ?) as "some";
-- catalog.countBlobKeysDue
select count(*) as "count" from "blob_key_due" inner join "project_blob" on "project_blob"."digest" = "blob_key_due"."digest" where "project_blob"."project_id" = ?;
-- catalog.countDamaged
select count(*) as "count" from "damaged_blob";
-- catalog.countDamagedManifests
select count(*) as "count" from "damaged_manifest" inner join "manifest" on "manifest"."id" = "damaged_manifest"."manifest_id";
-- catalog.countDueLinks
select count(*) as "count" from (select "size" from "repository_blob" where "unneeded_since" <= ? limit ?) as "due";
-- catalog.countDueStored
select count(*) as "count", coalesce(sum(size), 0) as "bytes" from (select "size" from "stored_blob" where "state" = ? and "review_at" <= ? limit ?) as "due";
-- catalog.countManifestsUpTo
select count(*) as "count" from (select 1 as one from "manifest" where repository_id = ? limit ?) as "some";
-- catalog.countRepositories
select count(*) as "count" from "repository" where "project_id" = ? and "deleted_at" is null;
-- catalog.countTags
select count(*) as "tags" from "tag" where "repository_id" = ?;
-- catalog.countTagsUpTo
select count(*) as "count" from (select 1 as one from "tag" where repository_id = ? limit ?) as "some";
-- catalog.countUploads
select count(*) as "open" from "upload_session";
-- catalog.damageOf
select "digest", "problem", "detail", "found_at" as "foundAt", "checks", "check_at" as "checkAt" from "damaged_blob" where "digest" = ?;
-- catalog.damagedAfter
select "digest", "problem", "detail", "found_at" as "foundAt", "checks", "check_at" as "checkAt" from "damaged_blob" where "digest" > ? order by "digest" limit ?;
-- catalog.damagedDue
select "digest", "problem", "detail", "found_at" as "foundAt", "checks", "check_at" as "checkAt" from "damaged_blob" where "check_at" <= ? and "digest" > ? order by "digest" limit ?;
-- catalog.damagedIn
select "damaged_blob"."problem" from "damaged_blob" inner join "repository_blob" on "repository_blob"."digest" = "damaged_blob"."digest" where "damaged_blob"."digest" = ? and "repository_blob"."repository_id" = ?;
-- catalog.damagedManifestsAfter
select "manifest"."id", "manifest"."digest", "repository"."name" as "repository", "damaged_manifest"."problem", "damaged_manifest"."found_at" as "foundAt" from "damaged_manifest" inner join "manifest" on "manifest"."id" = "damaged_manifest"."manifest_id" inner join "repository" on "repository"."id" = "manifest"."repository_id" where "damaged_manifest"."manifest_id" > ? order by "damaged_manifest"."manifest_id" limit ?;
-- catalog.deleteBlob
delete from "repository_blob" where "repository_id" = ? and "digest" = ?;
-- catalog.deleteDamage
delete from "damaged_blob" where "digest" = ?;
-- catalog.deleteHold
delete from "collection_hold" where "id" = ?;
-- catalog.deleteHolds
delete from "collection_hold";
-- catalog.deleteImmutabilityRule
delete from "immutability_rule" where "id" = ?;
-- catalog.deleteImmutabilityRulesOf
delete from "immutability_rule" where "project_id" = ?;
-- catalog.deleteLapsedHolds
delete from "collection_hold" where "held_until" <= ?;
-- catalog.deleteManifest
delete from "manifest" where "id" = ?;
-- catalog.deleteManifestContent
delete from "manifest_content" where "manifest_id" = ?;
-- catalog.deleteManifestDamage
delete from "damaged_manifest" where "manifest_id" = ?;
-- catalog.deleteProject
delete from "project" where "id" = ?;
-- catalog.deleteProjectBlob
delete from "project_blob" where "project_id" = ? and "digest" = ?;
-- catalog.deleteReferences
delete from "manifest_reference" where "manifest_id" = ?;
-- catalog.deletionFacts
select "id", "digest", "media_type" as "mediaType", "artifact_type" as "artifactType", "size" from "manifest" where "repository_id" = ? and "digest" = ?;
-- catalog.detachTrash
update "trash_item" set "with_id" = ? where "with_id" = ?;
-- catalog.detachTrashItem
update "trash_item" set "with_id" = ? where "id" = ?;
-- catalog.dropAlerts
delete from "quota_alert" where "project_id" = ?;
-- catalog.dropDueLink
delete from "repository_blob" where "repository_id" = ? and "digest" = ? and "unneeded_since" <= ? and not (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "repository_blob"."repository_id" and "need"."digest" = "repository_blob"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "repository_blob"."repository_id" and "kept"."digest" = "repository_blob"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0));
-- catalog.dropProjectBlob
delete from "project_blob" where "project_id" = ? and "digest" = ?;
-- catalog.dropProjectBlobLink
update "project_blob" set "links" = "links" - ? where "project_id" = (select "repository"."project_id" from "repository" where "repository"."id" = ?) and "digest" = ? returning "project_id" as "projectId", "links", "size", (select min(project.id) from project where project.encryption_key is not null) as "keyed";
-- catalog.dropQuota
delete from "project_quota" where "project_id" = ?;
-- catalog.dropReservations
delete from "quota_reservation" where "project_id" = ?;
-- catalog.dropTagChanges
delete from "tag_history" where "id" in (select "old"."id" from "tag_history" as "old" where "old"."repository_id" = ? and "old"."name" = ? and "old"."id" <= ? order by "old"."id" limit ?);
-- catalog.dropUsage
delete from "project_usage" where "project_id" = ?;
-- catalog.dueBlobKeys
select "digest", "version" from "blob_key_due" where "due_at" <= ? order by "due_at" limit ?;
-- catalog.dueLinks
select "repository_blob"."repository_id" as "repositoryId", "repository"."name" as "repository", "repository_blob"."digest" from "repository_blob" inner join "repository" on "repository"."id" = "repository_blob"."repository_id" where "repository_blob"."unneeded_since" <= ? order by "repository_blob"."unneeded_since" limit ?;
-- catalog.dueStored
select "digest", "size" from "stored_blob" where "state" = ? and "review_at" <= ? order by "review_at" limit ?;
-- catalog.endBlobKeysDue
delete from "blob_key_due" where "digest" = ? and "version" = ?;
-- catalog.expiredTrash
select "id", "kind", "repository_id" as "repositoryId", "repository", "deleted_at" as "deletedAt" from "trash_item" where "project_id" = ? and "id" > ? and "deleted_at" <= ? order by "id" limit ?;
-- catalog.expiredUploads
select "id" from "upload_session" where "updated_at" < ? and "lease_until" < ? order by "updated_at" limit ?;
-- catalog.extendHold
update "collection_hold" set "held_until" = ? where "id" = ? and "held_until" > ?;
-- catalog.findAlert
select "told_at" from "quota_alert" where "project_id" = ? and "quota" = ? and "level" = ?;
-- catalog.findEndedUpload
select "id" from "ended_upload" where "id" = ?;
-- catalog.findUpload
select "id", "repository", "owner", "algorithm", "bytes", "digest", "lease", "lease_until" as "leaseUntil" from "upload_session" where "id" = ?;
-- catalog.firstReview
select "review_at" as "at" from "stored_blob" where "state" = ? and "review_at" is not null order by "review_at" limit ?;
-- catalog.firstUnneeded
select "unneeded_since" as "at" from "repository_blob" where "unneeded_since" is not null order by "unneeded_since" limit ?;
-- catalog.forgetDamage
delete from "damaged_blob" where "digest" = ?;
-- catalog.forgetGone
delete from "stored_blob" where "state" = ? and "review_at" <= ? and "digest" in (select "old"."digest" from "stored_blob" as "old" where "old"."state" = ? and "old"."review_at" <= ? limit ?);
-- catalog.forgetTrashDamage
update "trash_item" set "problem" = ? where "id" = ? and "problem" = ?;
-- catalog.freeDeletions
update "stored_blob" set "review_at" = ? where "state" = ? and "review_at" > ?;
-- catalog.heldInReservation
select "kept", "bytes", "repositories", "tags", "expires_at" as "until" from "quota_reservation" where "id" = ?;
-- catalog.hideRepository
update "repository" set "name" = ?, "deleted_at" = ? where "id" = ?;
-- catalog.historyAstray
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "tag"."name", coalesce((select change.digest from tag_history as change
  where change.repository_id = tag.repository_id and change.name = tag.name order by change.id desc limit 1), 'nothing') as "other" from "tag" inner join "repository" on "repository"."id" = "tag"."repository_id" where coalesce((select change.digest from tag_history as change
  where change.repository_id = tag.repository_id and change.name = tag.name order by change.id desc limit 1), '') != tag.digest and "repository"."deleted_at" is null limit ?;
-- catalog.holderWithoutKey
select "project"."id" from "repository_blob" inner join "repository" on "repository"."id" = "repository_blob"."repository_id" inner join "project" on "project"."id" = "repository"."project_id" where "repository_blob"."digest" = ? and "project"."encryption_key" is null limit ?;
-- catalog.holdersOf
select "repository"."id", "repository"."name" from "repository_blob" inner join "repository" on "repository"."id" = "repository_blob"."repository_id" where "repository_blob"."digest" = ? and "repository"."deleted_at" is null order by "repository_blob"."repository_id" limit ?;
-- catalog.holds
select "id", "reason", "created_at" as "createdAt", "held_until" as "heldUntil" from "collection_hold" where "held_until" > ? order by "created_at" limit ?;
-- catalog.imagesNeeding
select "manifest"."id", "manifest"."repository_id" as "repositoryId", "manifest"."digest", "repository"."name" as "repository" from "repository_blob" inner join "manifest_reference" as "need" on "need"."repository_id" = "repository_blob"."repository_id" and "need"."digest" = "repository_blob"."digest" and "need"."kind" = ? inner join "manifest" on "manifest"."id" = "need"."manifest_id" inner join "repository" on "repository"."id" = "repository_blob"."repository_id" where "repository_blob"."digest" = ? and "repository_blob"."repository_id" >= ? and ("repository_blob"."repository_id" > ? or "need"."manifest_id" > ?) and "repository"."deleted_at" is null order by "repository_blob"."repository_id", "need"."manifest_id" limit ?;
-- catalog.immutabilityPlace
select "name", "project_id" as "projectId" from "repository" where "id" = ?;
-- catalog.immutabilityRule
select "id", "project_id" as "projectId", "name", "description", "selector", "enabled", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "immutability_rule" where "id" = ?;
-- catalog.immutabilityRules
select "id", "name", "project_id" as "projectId", "selector" from "immutability_rule" where ("project_id" is null or "project_id" = ?) and "enabled" = ? order by "id";
-- catalog.immutabilityRulesOfProject
select "id", "project_id" as "projectId", "name", "description", "selector", "enabled", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "immutability_rule" where "project_id" = ? order by "name";
-- catalog.immutabilityRulesOfSystem
select "id", "project_id" as "projectId", "name", "description", "selector", "enabled", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "immutability_rule" where "project_id" is null order by "name";
-- catalog.immutabilityVersion
select "version" from "immutability_state" where "id" = ?;
-- catalog.insertBlob
insert into "repository_blob" ("repository_id", "digest", "size", "created_at", "unneeded_since") values (?, ?, ?, ?, case when (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = ? and "need"."digest" = ? and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = ? and "kept"."digest" = ? and "kept"."kind" = ? and "kept"."item_id" != 0)) then null else cast(? as bigint) end) on conflict ("repository_id", "digest") do nothing;
-- catalog.insertDamage
insert into "damaged_blob" ("digest", "problem", "detail", "found_at", "checks", "check_at") values (?, ?, ?, ?, ?, ?) on conflict ("digest") do nothing;
-- catalog.insertEndedUpload
insert into "ended_upload" ("id") values (?) on conflict ("id") do nothing;
-- catalog.insertHold
insert into "collection_hold" ("id", "reason", "created_at", "held_until") values (?, ?, ?, ?);
-- catalog.insertImmutabilityRule
insert into "immutability_rule" ("project_id", "name", "description", "selector", "enabled", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- catalog.insertManifest
insert into "manifest" ("repository_id", "digest", "media_type", "size", "content_size", "artifact_type", "annotations", "subject", "created_at", "created_by") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- catalog.insertManifestContent
insert into "manifest_content" ("manifest_id", "bytes") values (?, ?);
-- catalog.insertManifestDamage
insert into "damaged_manifest" ("manifest_id", "problem", "found_at") values (?, ?, ?) on conflict ("manifest_id") do nothing;
-- catalog.insertProject
insert into "project" ("name", "public", "created_at", "created_by", "description", "environment", "pull_networks", "push_networks", "version") values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("name") do nothing;
-- catalog.insertReference
insert into "manifest_reference" ("manifest_id", "repository_id", "digest", "kind") values (?, ?, ?, ?) on conflict ("manifest_id", "digest", "kind") do nothing;
-- catalog.insertRepository
insert into "repository" ("project_id", "name", "created_at", "description", "version") values (?, ?, ?, ?, ?) on conflict ("name") do nothing;
-- catalog.insertRepositoryChange
insert into "repository_change" ("repository_id", "project_id", "updated_at") values (?, ?, ?) on conflict ("repository_id") do nothing;
-- catalog.insertTagHistory
insert into "tag_history" ("repository_id", "name", "digest", "previous_digest", "changed_at", "changed_by") values (?, ?, ?, ?, ?, ?);
-- catalog.insertTrashItem
insert into "trash_item" ("project_id", "repository_id", "repository", "kind", "name", "digest", "media_type", "artifact_type", "size", "with_id", "deleted_at", "deleted_by") select "repository"."project_id", "repository"."id", "repository"."name", cast(? as text) as "kind", case when cast(? as text) = ? then "repository"."name" else cast(? as text) end as "name", cast(? as text) as "digest", cast(? as text) as "media_type", cast(? as text) as "artifact_type", cast(? as bigint) as "size", cast(? as integer) as "with_id", cast(? as bigint) as "deleted_at", cast(? as text) as "deleted_by" from "repository" where "repository"."id" = ? returning "id";
-- catalog.insertUpload
insert into "upload_session" ("id", "repository", "owner", "algorithm", "bytes", "digest", "lease", "lease_until", "created_at", "updated_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("id") do nothing;
-- catalog.isManifestInTrash
select "item_id" from "trash_manifest" where "item_id" = ?;
-- catalog.isRepositoryHidden
select "id" from "repository" where "id" = ? and "deleted_at" is not null;
-- catalog.keepLinked
update "stored_blob" set "review_at" = ? where "digest" = ? and "state" = ? and exists (select "repository_blob"."digest" from "repository_blob" where "repository_blob"."digest" = ?);
-- catalog.keepLinks
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" in (select "part"."digest" from "manifest_reference" as "part" where "part"."manifest_id" = ?) and "unneeded_since" is not null;
-- catalog.keepNeededLink
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" = ? and (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "repository_blob"."repository_id" and "need"."digest" = "repository_blob"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "repository_blob"."repository_id" and "kept"."digest" = "repository_blob"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0));
-- catalog.keepStored
insert into "stored_blob" ("digest", "size", "state", "review_at", "stored_at") values (?, ?, ?, ?, ?) on conflict ("digest") do update set "review_at" = ? where "stored_blob"."state" = ? and ("stored_blob"."generation" = ? or cast(? as integer) < ?);
-- catalog.keyOfProject
select "encryption_key" as "key" from "project" where "id" = ?;
-- catalog.keyOfRepository
select "project"."encryption_key" as "key" from "repository" inner join "project" on "project"."id" = "repository"."project_id" where "repository"."id" = ?;
-- catalog.keysOfHolders
select distinct "project"."encryption_key" as "key" from "project" where "project"."encryption_key" is not null and exists (select "project_blob"."project_id" from "project_blob" where "project_blob"."project_id" = "project"."id" and "project_blob"."digest" = ?);
-- catalog.lapseReservations
update "quota_reservation" set "expires_at" = ?;
-- catalog.lapseReservationsOf
update "quota_reservation" set "expires_at" = ? where "holder" = ?;
-- catalog.lastRepositoryChange
select "updated_at" as "at" from "repository_change" where "repository_id" = ?;
-- catalog.leaseUpload
update "upload_session" set "lease" = ?, "lease_until" = ?, "updated_at" = ? where "id" = ? and ("lease" is null or "lease" = ? or "lease_until" < ?);
-- catalog.leaveDeletion
update "stored_blob" set "state" = ?, "review_at" = ? where "digest" = ? and "state" = ? and "review_at" = ?;
-- catalog.limitedProjects
select "project_quota"."project_id" as "projectId", "project_quota"."bytes", "project_quota"."repositories", "project_quota"."tags" from "project_quota" where "project_quota"."project_id" > ? order by "project_quota"."project_id" limit ?;
-- catalog.limits
select "bytes", "repositories", "tags" from "project_quota" where "project_id" = ?;
-- catalog.limitsByName
select "project"."id" as "projectId", "project_quota"."bytes", "project_quota"."repositories", "project_quota"."tags" from "project_quota" inner join "project" on "project"."id" = "project_quota"."project_id" where "project"."name" = ?;
-- catalog.linkSize
select "size" from "repository_blob" where "repository_id" = ? and "digest" = ?;
-- catalog.linkedBlob
select "size" from "stored_blob" where "digest" = ? and "state" = ? and exists (select "repository_blob"."digest" from "repository_blob" where "repository_blob"."digest" = ?);
-- catalog.linkedBlobsAfter
select "digest", "size" from "stored_blob" where "digest" > ? and "state" = ? and exists (select "repository_blob"."digest" from "repository_blob" where "repository_blob"."digest" = "stored_blob"."digest") order by "digest" limit ?;
-- catalog.linksAstray
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "link"."digest" as "name", coalesce("stored_blob"."state", 'no') as "other" from "repository_blob" as "link" inner join "repository" on "repository"."id" = "link"."repository_id" left join "stored_blob" on "stored_blob"."digest" = "link"."digest" where ("stored_blob"."digest" is null or "stored_blob"."state" != ? or "stored_blob"."size" != "link"."size") limit ?;
-- catalog.linksKept
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "link"."digest" as "name", '' as "other" from "repository_blob" as "link" inner join "repository" on "repository"."id" = "link"."repository_id" where "link"."unneeded_since" is null and not (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "link"."repository_id" and "need"."digest" = "link"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "link"."repository_id" and "kept"."digest" = "link"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0)) limit ?;
-- catalog.linksOf
select "digest" from "repository_blob" where "repository_id" = ? order by "digest" limit ?;
-- catalog.linksOfBlob
select count(*) as "links", max("repository_blob"."size") as "size" from "repository_blob" inner join "repository" on "repository"."id" = "repository_blob"."repository_id" where "repository_blob"."digest" = ? and "repository"."project_id" = ?;
-- catalog.linksOpen
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "link"."digest" as "name", '' as "other" from "repository_blob" as "link" inner join "repository" on "repository"."id" = "link"."repository_id" where "link"."unneeded_since" is not null and (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "link"."repository_id" and "need"."digest" = "link"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "link"."repository_id" and "kept"."digest" = "link"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0)) limit ?;
-- catalog.listDue
select "repository"."name" as "repository", "link"."repository_id" as "repositoryId", "link"."digest", "link"."size", "link"."unneeded_since" as "since", case when exists (select "other"."digest" from "repository_blob" as "other" where "other"."digest" = "link"."digest" and ("other"."unneeded_since" is null or "other"."unneeded_since" > ?)) then 0 else 1 end as "frees" from "repository_blob" as "link" inner join "repository" on "repository"."id" = "link"."repository_id" where "link"."unneeded_since" <= ? and "link"."unneeded_since" >= ? and ("link"."unneeded_since" > ? or "link"."repository_id" > ? or ("link"."repository_id" = ? and "link"."digest" > ?)) order by "link"."unneeded_since", "link"."repository_id", "link"."digest" limit ?;
-- catalog.listReferrers
select "digest", "media_type" as "mediaType", "size", "artifact_type" as "artifactType", "annotations" from "manifest" where "repository_id" = ? and "subject" = ? and "digest" > ? and (? = ? or "artifact_type" = ?) order by "digest" limit ?;
-- catalog.listRepositories
select "name" from "repository" where "project_id" = ? and "deleted_at" is null and "name" > ? order by "name" limit ?;
-- catalog.listTags
select "name" from "tag" where "repository_id" = ? and "name" > ? order by "name" limit ?;
-- catalog.manifestByDigest
select "id", "digest", "media_type" as "mediaType", "size" from "manifest" where "repository_id" = ? and "digest" = ?;
-- catalog.manifestByTag
select "manifest"."id", "manifest"."digest", "manifest"."media_type" as "mediaType", "manifest"."size" from "tag" inner join "manifest" on "manifest"."repository_id" = "tag"."repository_id" and "manifest"."digest" = "tag"."digest" where "tag"."repository_id" = ? and "tag"."name" = ?;
-- catalog.manifestContent
select "bytes" from "manifest_content" where "manifest_id" = ?;
-- catalog.manifestForTrash
select "media_type" as "mediaType", "artifact_type" as "artifactType", "content_size" as "size" from "manifest" where "id" = ?;
-- catalog.manifestForTrashByDigest
select "media_type" as "mediaType", "artifact_type" as "artifactType", "content_size" as "size" from "manifest" where "repository_id" = ? and "digest" = ?;
-- catalog.manifestInTrash
select "trash_item"."id", "trash_item"."project_id" as "projectId", "trash_item"."repository_id" as "repositoryId", "trash_item"."repository", "trash_item"."kind", "trash_item"."name", "trash_item"."digest", "trash_item"."media_type" as "mediaType", "trash_item"."artifact_type" as "artifactType", "trash_item"."size", "trash_item"."with_id" as "withId", "trash_item"."job_id" as "jobId", "trash_item"."problem", "trash_item"."deleted_at" as "deletedAt", "trash_item"."deleted_by" as "deletedBy" from "trash_item" inner join "trash_manifest" on "trash_manifest"."item_id" = "trash_item"."id" where "trash_manifest"."repository_id" = ? and "trash_manifest"."digest" = ?;
-- catalog.manifestSizes
select "id", "size" from "manifest" where "repository_id" = ? and "id" > ? order by "id" limit ?;
-- catalog.manifestTwins
select "id" from "manifest" where "digest" = ? and "id" != ? order by "id" limit ?;
-- catalog.manifestsAbout
select "digest" from "manifest" where "repository_id" = ? and "subject" = ? order by "digest" limit ?;
-- catalog.manifestsAfter
select "id", "repository_id" as "repositoryId", "digest", "media_type" as "mediaType", "size", "subject" from "manifest" where "id" > ? order by "id" limit ?;
-- catalog.manifestsToJudge
select "manifest"."id", "manifest"."digest", "manifest"."subject", "manifest"."created_at" as "pushedAt", "manifest_pull"."last_at" as "pulledAt", (select min("tag"."name") as "name" from "tag" where "tag"."repository_id" = "manifest"."repository_id" and "tag"."digest" = "manifest"."digest") as "tag", (select min("part"."manifest_id") as "id" from "manifest_reference" as "part" where "part"."repository_id" = "manifest"."repository_id" and "part"."digest" = "manifest"."digest" and "part"."kind" = ?) as "parent" from "manifest" left join "manifest_pull" on "manifest_pull"."repository_id" = "manifest"."repository_id" and "manifest_pull"."digest" = "manifest"."digest" where "manifest"."repository_id" = ? and "manifest"."id" > ? order by "manifest"."id" limit ?;
-- catalog.manifestsWithLayer
select "manifest_id" as "id" from "manifest_reference" where "repository_id" = ? and "digest" = ? and "kind" = ? order by "manifest_id" limit ?;
-- catalog.markDeleting
update "stored_blob" set "state" = ?, "review_at" = ?, "generation" = "generation" + ? where "digest" = ? and "state" = ? and "review_at" <= ? and not exists (select "repository_blob"."digest" from "repository_blob" where "repository_blob"."digest" = ?);
-- catalog.mendKeptLink
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" = ? and "unneeded_since" is null and not (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = ? and "need"."digest" = ? and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = ? and "kept"."digest" = ? and "kept"."kind" = ? and "kept"."item_id" != 0));
-- catalog.mendOpenLink
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" = ? and (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = ? and "need"."digest" = ? and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = ? and "kept"."digest" = ? and "kept"."kind" = ? and "kept"."item_id" != 0));
-- catalog.mendStrayReferences
delete from "manifest_reference" where "manifest_id" = ? and not exists (select "manifest"."id" from "manifest" where "manifest"."id" = ?);
-- catalog.moveManifestToTrash
insert into "trash_manifest" ("item_id", "manifest_id", "repository_id", "digest", "media_type", "size", "content_size", "artifact_type", "annotations", "subject", "created_at", "created_by") select cast(? as integer) as "item_id", "id" as "manifest_id", "repository_id", "digest", "media_type", "size", "content_size", "artifact_type", "annotations", "subject", "created_at", "created_by" from "manifest" where "id" = ?;
-- catalog.moveTagHistoryCursor
insert into "tag_history_cursor" ("id", "position") values (?, ?) on conflict ("id") do update set "position" = "excluded"."position";
-- catalog.needsOfBlob
select "manifest_id" as "id" from "manifest_reference" where "repository_id" = ? and "digest" = ? and "kind" = ? limit ?;
-- catalog.needsOfManifest
select "kind", "digest" from "manifest_reference" where "manifest_id" = ?;
-- catalog.newestTagChange
select "id" from "tag_history" where "repository_id" = ? and "name" = ? order by "id" desc limit ?;
-- catalog.olderTrashManifest
select "item_id" as "id", "size" from "trash_manifest" where "repository_id" = ? and "digest" = ?;
-- catalog.oldestManifests
select "id", "size" from "manifest" where "repository_id" = ? order by "id" limit ?;
-- catalog.openTrashItem
select "trash_item"."id" from "trash_item" left join "trash_manifest" on "trash_manifest"."item_id" = "trash_item"."id" where "trash_item"."repository_id" = ? and "trash_item"."kind" = ? and "trash_item"."name" = ? and "trash_item"."job_id" is null and "trash_manifest"."item_id" is null order by "trash_item"."id" desc limit ?;
-- catalog.parentsOf
select "manifest"."id", "manifest"."digest" from "manifest_reference" inner join "manifest" on "manifest"."id" = "manifest_reference"."manifest_id" where "manifest_reference"."repository_id" = ? and "manifest_reference"."digest" = ? and "manifest_reference"."kind" = ? order by "manifest"."id" limit ?;
-- catalog.partsOf
select "digest" from "manifest_reference" where "manifest_id" = ? and "kind" = ? order by "digest" limit ?;
-- catalog.postponeBlobKeys
update "blob_key_due" set "due_at" = ? where "digest" = ? and "version" = ?;
-- catalog.postponeCheck
update "damaged_blob" set "checks" = ?, "check_at" = ? where "digest" = ?;
-- catalog.projectById
select "id", "name", "public", "description", "environment", "pull_networks" as "pullNetworks", "push_networks" as "pushNetworks", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "project" where "id" = ?;
-- catalog.projectByName
select "id", "name", "public", "description", "environment", "pull_networks" as "pullNetworks", "push_networks" as "pushNetworks", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "project" where "name" = ?;
-- catalog.projectHasBlob
select "size" from "project_blob" where "project_id" = ? and "digest" = ?;
-- catalog.projectIds
select "id" from "project" where "id" > ? order by "id" limit ?;
-- catalog.projectsToCheck
select "id", "name" from "project" where "id" > ? order by "id" limit ?;
-- catalog.projectsWithKeys
select "id" from "project" where "encryption_key" is not null and "id" > ? order by "id" limit ?;
-- catalog.projectsWithTrash
select "project"."id", "project"."trash_days" as "days", (select min("trash_item"."id") as "first" from "trash_item" where "trash_item"."project_id" = "project"."id") as "firstId" from "project" where "project"."id" > ? order by "project"."id" limit ?;
-- catalog.pruneEndedUploads
delete from "ended_upload" where "id" in (select "old"."id" from "ended_upload" as "old" where "old"."id" < ? order by "old"."id" limit ?);
-- catalog.pruneReservations
delete from "quota_reservation" where "id" in (select "old"."id" from "quota_reservation" as "old" where "old"."expires_at" <= ? and ("old"."kept" = ? or not exists (select "upload_session"."id" from "upload_session" where "upload_session"."id" = "old"."id")) limit ?);
-- catalog.purgeContent
delete from "manifest_content" where "manifest_id" = ?;
-- catalog.purgeManifest
delete from "manifest" where "id" = ?;
-- catalog.purgeReferences
delete from "manifest_reference" where "manifest_id" = ?;
-- catalog.purgeRepository
delete from "repository" where "id" = ?;
-- catalog.purgeRepositoryChange
delete from "repository_change" where "repository_id" = ?;
-- catalog.purgeTagHistory
delete from "tag_history" where "id" in (select "old"."id" from "tag_history" as "old" where "old"."repository_id" = ? order by "old"."name", "old"."id" limit ?);
-- catalog.purgeTags
delete from "tag" where "repository_id" = ? and "name" in (select "old"."name" from "tag" as "old" where "old"."repository_id" = ? order by "old"."name" limit ?);
-- catalog.purgeTrashContent
delete from "trash_content" where "item_id" = ?;
-- catalog.purgeTrashItem
delete from "trash_item" where "id" = ?;
-- catalog.purgeTrashManifest
delete from "trash_manifest" where "item_id" = ?;
-- catalog.purgeTrashReferences
delete from "trash_reference" where "item_id" = ?;
-- catalog.quotaProjectName
select "name" from "project" where "id" = ?;
-- catalog.quotas
select "project"."id" as "projectId", "project"."name", "project_quota"."bytes", "project_quota"."repositories", "project_quota"."tags" from "project" left join "project_quota" on "project_quota"."project_id" = "project"."id" where "project"."name" >= ? and ("project"."name" > ? or "project"."name" > ?) and (? = ? or "project_quota"."project_id" is not null) order by "project"."name" asc limit ?;
-- catalog.quotasDown
select "project"."id" as "projectId", "project"."name", "project_quota"."bytes", "project_quota"."repositories", "project_quota"."tags" from "project" left join "project_quota" on "project_quota"."project_id" = "project"."id" where "project"."name" <= ? and ("project"."name" < ? or "project"."name" < ?) and (? = ? or "project_quota"."project_id" is not null) order by "project"."name" desc limit ?;
-- catalog.referencesAstray
select "need"."repository_id" as "repositoryId", '' as "repository", cast(need.manifest_id as text) as "name", "need"."digest" as "other" from "manifest_reference" as "need" left join "manifest" on "manifest"."id" = "need"."manifest_id" and "manifest"."repository_id" = "need"."repository_id" where "manifest"."id" is null limit ?;
-- catalog.referencesTo
select "manifest"."digest" from "manifest_reference" inner join "manifest" on "manifest"."id" = "manifest_reference"."manifest_id" where "manifest_reference"."repository_id" = ? and "manifest_reference"."digest" = ? and "manifest_reference"."kind" = ? limit ?;
-- catalog.releaseLinks
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" in (select "part"."digest" from "manifest_reference" as "part" where "part"."manifest_id" = ?) and not (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "repository_blob"."repository_id" and "need"."digest" = "repository_blob"."digest" and "need"."kind" = ? and "need"."manifest_id" != ?) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "repository_blob"."repository_id" and "kept"."digest" = "repository_blob"."digest" and "kept"."kind" = ? and "kept"."item_id" != 0));
-- catalog.releaseTrashedLinks
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" in (select "part"."digest" from "trash_reference" as "part" where "part"."item_id" = ?) and not (exists (select "need"."manifest_id" from "manifest_reference" as "need" where "need"."repository_id" = "repository_blob"."repository_id" and "need"."digest" = "repository_blob"."digest" and "need"."kind" = ? and "need"."manifest_id" != 0) or exists (select "kept"."item_id" from "trash_reference" as "kept" where "kept"."repository_id" = "repository_blob"."repository_id" and "kept"."digest" = "repository_blob"."digest" and "kept"."kind" = ? and "kept"."item_id" != ?));
-- catalog.releaseUpload
update "upload_session" set "lease" = ?, "lease_until" = ?, "bytes" = ?, "digest" = ?, "updated_at" = ? where "id" = ? and "lease" = ?;
-- catalog.removeAllUploads
delete from "upload_session";
-- catalog.removeExpiredUpload
delete from "upload_session" where "id" = ? and "updated_at" < ? and "lease_until" < ?;
-- catalog.removeLimits
delete from "project_quota" where "project_id" = ?;
-- catalog.removeReservation
delete from "quota_reservation" where "id" = ? returning "kept", "bytes", "repositories", "tags", "expires_at" as "until";
-- catalog.removeTag
delete from "tag" where "repository_id" = ? and "name" = ?;
-- catalog.removeUpload
delete from "upload_session" where "id" = ?;
-- catalog.renewBlob
update "repository_blob" set "unneeded_since" = ? where "repository_id" = ? and "digest" = ? and "unneeded_since" is not null;
-- catalog.renewImmutabilityVersion
insert into "immutability_state" ("id", "version") values (?, ?) on conflict ("id") do update set "version" = "excluded"."version";
-- catalog.renewReservations
update "quota_reservation" set "expires_at" = ? where "holder" = ? and "expires_at" > ?;
-- catalog.renewTrashItem
update "trash_item" set "with_id" = ?, "deleted_at" = ?, "deleted_by" = ? where "id" = ?;
-- catalog.replaceManifestContent
insert into "manifest_content" ("manifest_id", "bytes") values (?, ?) on conflict ("manifest_id") do update set "bytes" = "excluded"."bytes";
-- catalog.repositoriesByAge
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository" inner join "repository_change" on "repository_change"."repository_id" = "repository"."id" where "repository"."project_id" = ? and "repository"."deleted_at" is null and "repository"."created_at" >= ? and ("repository"."created_at" > ? or "repository"."id" > ?) order by "repository"."created_at" asc, "repository"."id" asc limit ?;
-- catalog.repositoriesByAgeDown
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository" inner join "repository_change" on "repository_change"."repository_id" = "repository"."id" where "repository"."project_id" = ? and "repository"."deleted_at" is null and "repository"."created_at" <= ? and ("repository"."created_at" < ? or "repository"."id" < ?) order by "repository"."created_at" desc, "repository"."id" desc limit ?;
-- catalog.repositoriesByName
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository" inner join "repository_change" on "repository_change"."repository_id" = "repository"."id" where "repository"."project_id" = ? and "repository"."deleted_at" is null and "repository"."name" >= ? and ("repository"."name" > ? or "repository"."id" > ?) order by "repository"."name" asc, "repository"."id" asc limit ?;
-- catalog.repositoriesByNameDown
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository" inner join "repository_change" on "repository_change"."repository_id" = "repository"."id" where "repository"."project_id" = ? and "repository"."deleted_at" is null and "repository"."name" <= ? and ("repository"."name" < ? or "repository"."id" < ?) order by "repository"."name" desc, "repository"."id" desc limit ?;
-- catalog.repositoriesByUpdate
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository_change" inner join "repository" on "repository"."id" = "repository_change"."repository_id" where "repository_change"."project_id" = ? and "repository"."deleted_at" is null and "repository_change"."updated_at" >= ? and ("repository_change"."updated_at" > ? or "repository_change"."repository_id" > ?) order by "repository_change"."updated_at" asc, "repository_change"."repository_id" asc limit ?;
-- catalog.repositoriesByUpdateDown
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository_change" inner join "repository" on "repository"."id" = "repository_change"."repository_id" where "repository_change"."project_id" = ? and "repository"."deleted_at" is null and "repository_change"."updated_at" <= ? and ("repository_change"."updated_at" < ? or "repository_change"."repository_id" < ?) order by "repository_change"."updated_at" desc, "repository_change"."repository_id" desc limit ?;
-- catalog.repositoriesOf
select "repository"."id", "repository"."name", "repository_blob"."size" from "repository_blob" inner join "repository" on "repository"."id" = "repository_blob"."repository_id" where "repository_blob"."digest" = ? and "repository_blob"."repository_id" > ? and not exists (select "damaged_blob"."digest" from "damaged_blob" where "damaged_blob"."digest" = "repository_blob"."digest") order by "repository_blob"."repository_id" limit ?;
-- catalog.repositoriesOfAll
select "repository"."id", "repository"."name", "project"."id" as "projectId", "project"."name" as "project", "project"."environment" from "repository" inner join "project" on "project"."id" = "repository"."project_id" where "repository"."id" > ? and "repository"."deleted_at" is null order by "repository"."id" limit ?;
-- catalog.repositoriesOfOne
select "repository"."id", "repository"."name", "project"."id" as "projectId", "project"."name" as "project", "project"."environment" from "repository" inner join "project" on "project"."id" = "repository"."project_id" where "repository"."project_id" = ? and "repository"."id" > ? and "repository"."deleted_at" is null order by "repository"."id" limit ?;
-- catalog.repositoriesToCheck
select "id", "deleted_at" as "deletedAt" from "repository" where "project_id" = ? and "id" > ? order by "id" limit ?;
-- catalog.repositoryById
select "id", "name", "project_id" as "projectId" from "repository" where "id" = ? and "deleted_at" is null;
-- catalog.repositoryByName
select "id", "name", "project_id" as "projectId" from "repository" where "name" = ?;
-- catalog.repositoryFacts
select "repository"."id", "repository"."name", "repository"."description", "repository"."created_at" as "createdAt", "repository_change"."updated_at" as "updatedAt", "repository"."version" from "repository" inner join "repository_change" on "repository_change"."repository_id" = "repository"."id" where "repository"."name" = ?;
-- catalog.repositoryName
select "name" from "repository" where "id" = ?;
-- catalog.restoreContent
insert into "manifest_content" ("manifest_id", "bytes") values (?, ?);
-- catalog.restoreManifest
insert into "manifest" ("id", "repository_id", "digest", "media_type", "size", "content_size", "artifact_type", "annotations", "subject", "created_at", "created_by") select "manifest_id", "repository_id", "digest", "media_type", "size", "content_size", "artifact_type", "annotations", "subject", "created_at", "created_by" from "trash_manifest" where "item_id" = ? returning "id", "media_type" as "mediaType", "size";
-- catalog.restoreReferences
insert into "manifest_reference" ("manifest_id", "repository_id", "digest", "kind") select cast(? as integer) as "manifest_id", "repository_id", "digest", "kind" from "trash_reference" where "item_id" = ?;
-- catalog.reviewWithoutLinks
update "stored_blob" set "review_at" = ? where "digest" = ? and "state" = ? and "review_at" is null and not exists (select "repository_blob"."digest" from "repository_blob" where "repository_blob"."digest" = ?);
-- catalog.setLimits
insert into "project_quota" ("project_id", "bytes", "repositories", "tags", "version") values (?, ?, ?, ?, ?) on conflict ("project_id") do update set "bytes" = "excluded"."bytes", "repositories" = "excluded"."repositories", "tags" = "excluded"."tags", "version" = "project_quota"."version" + ?;
-- catalog.setProjectBlob
insert into "project_blob" ("project_id", "digest", "size", "links") values (?, ?, ?, ?) on conflict ("project_id", "digest") do update set "size" = "excluded"."size", "links" = "excluded"."links";
-- catalog.setProjectKey
update "project" set "encryption_key" = ?, "version" = "version" + ? where "id" = ?;
-- catalog.setReservation
insert into "quota_reservation" ("id", "project_id", "kept", "bytes", "repositories", "tags", "holder", "expires_at") values (?, ?, ?, ?, ?, ?, ?, ?) on conflict ("id") do update set "kept" = "excluded"."kept", "bytes" = "excluded"."bytes", "repositories" = "excluded"."repositories", "tags" = "excluded"."tags", "holder" = "excluded"."holder", "expires_at" = "excluded"."expires_at";
-- catalog.setTrashContent
insert into "trash_content" ("item_id", "bytes") values (?, ?) on conflict ("item_id") do update set "bytes" = "excluded"."bytes";
-- catalog.setTrashDamage
update "trash_item" set "problem" = ? where "id" = ? and ("problem" is null or "problem" != ?);
-- catalog.setTrashDays
update "project" set "trash_days" = ?, "version" = "version" + ? where "id" = ?;
-- catalog.setTrashJob
update "trash_item" set "job_id" = ?, "problem" = ? where "id" = ?;
-- catalog.settleReservation
update "quota_reservation" set "kept" = ?, "bytes" = ?, "repositories" = ?, "tags" = ?, "expires_at" = ? where "id" = ?;
-- catalog.showRepository
update "repository" set "name" = ?, "deleted_at" = ?, "version" = "version" + ? where "id" = ? and "deleted_at" is not null;
-- catalog.storedBlob
select "state", "review_at" as "reviewAt", "size" from "stored_blob" where "digest" = ?;
-- catalog.storedKept
select 0 as "repositoryId", '' as "repository", "stored_blob"."digest" as "name", '' as "other" from "stored_blob" where "state" = ? and "review_at" is null and not exists (select "repository_blob"."digest" from "repository_blob" where "repository_blob"."digest" = "stored_blob"."digest") limit ?;
-- catalog.subjectByPrefix
select "subject" from "manifest" where "repository_id" = ? and "subject" >= ? and "subject" < ? limit ?;
-- catalog.sumClaims
select cast(coalesce(sum(bytes), 0) as bigint) as "bytes", cast(coalesce(sum(repositories), 0) as bigint) as "repositories", cast(coalesce(sum(tags), 0) as bigint) as "tags" from (select "bytes", "repositories", "tags" from "project_usage" where "project_id" = ? union all select kept + case when expires_at > ? then "bytes" else 0 end as "bytes", case when expires_at > ? then "repositories" else 0 end as "repositories", case when expires_at > ? then "tags" else 0 end as "tags" from "quota_reservation" where "project_id" = ?) as "claim";
-- catalog.sumUsage
select cast(coalesce(sum(bytes), 0) as bigint) as "bytes", cast(coalesce(sum(repositories), 0) as bigint) as "repositories", cast(coalesce(sum(tags), 0) as bigint) as "tags" from "project_usage" where "project_id" = ?;
-- catalog.tagChangeBeyond
select "id" from "tag_history" where "repository_id" = ? and "name" = ? order by "id" desc limit ? offset ?;
-- catalog.tagChangesAfter
select "id", "repository_id" as "repositoryId", "name", "digest", "changed_at" as "at" from "tag_history" where "id" > ? and "changed_at" <= ? order by "id" limit ?;
-- catalog.tagCountOfDigest
select count(*) as "tags" from "tag" where "repository_id" = ? and "digest" = ?;
-- catalog.tagDigest
select "digest" from "tag" where "repository_id" = ? and "name" = ?;
-- catalog.tagFacts
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."name" = ?;
-- catalog.tagHistory
select "id", "digest", "previous_digest" as "previous", "changed_at" as "at", "changed_by" as "by" from "tag_history" where "repository_id" = ? and "name" = ? and "id" > ? order by "id" asc limit ?;
-- catalog.tagHistoryCursor
select "position" from "tag_history_cursor" where "id" = ?;
-- catalog.tagHistoryDown
select "id", "digest", "previous_digest" as "previous", "changed_at" as "at", "changed_by" as "by" from "tag_history" where "repository_id" = ? and "name" = ? and "id" < ? order by "id" desc limit ?;
-- catalog.tagNow
select "tag"."digest", "tag"."updated_at" as "pushedAt", "tag_pull"."last_at" as "tagPulledAt", "manifest_pull"."digest_at" as "digestPulledAt" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" left join "manifest_pull" on "manifest_pull"."repository_id" = "tag"."repository_id" and "manifest_pull"."digest" = "tag"."digest" where "tag"."repository_id" = ? and "tag"."name" = ?;
-- catalog.tagPointedAt
select "id" from "tag_history" where "repository_id" = ? and "name" = ? and "digest" = ? limit ?;
-- catalog.tagWindowByName
select "tag"."name", "tag"."updated_at" as "updatedAt" from "tag" where "tag"."repository_id" = ? and "tag"."name" >= ? and ("tag"."name" > ? or "tag"."name" > ?) order by "tag"."name" asc, "tag"."name" asc limit ? offset ?;
-- catalog.tagWindowByNameDown
select "tag"."name", "tag"."updated_at" as "updatedAt" from "tag" where "tag"."repository_id" = ? and "tag"."name" <= ? and ("tag"."name" < ? or "tag"."name" < ?) order by "tag"."name" desc, "tag"."name" desc limit ? offset ?;
-- catalog.tagWindowByUpdate
select "tag"."name", "tag"."updated_at" as "updatedAt" from "tag" where "tag"."repository_id" = ? and "tag"."updated_at" >= ? and ("tag"."updated_at" > ? or "tag"."name" > ?) order by "tag"."updated_at" asc, "tag"."name" asc limit ? offset ?;
-- catalog.tagWindowByUpdateDown
select "tag"."name", "tag"."updated_at" as "updatedAt" from "tag" where "tag"."repository_id" = ? and "tag"."updated_at" <= ? and ("tag"."updated_at" < ? or "tag"."name" < ?) order by "tag"."updated_at" desc, "tag"."name" desc limit ? offset ?;
-- catalog.tagsAstray
select "repository"."id" as "repositoryId", "repository"."name" as "repository", "tag"."name", "tag"."digest" as "other" from "tag" inner join "repository" on "repository"."id" = "tag"."repository_id" left join "manifest" on "manifest"."repository_id" = "tag"."repository_id" and "manifest"."digest" = "tag"."digest" where "manifest"."id" is null and "repository"."deleted_at" is null limit ?;
-- catalog.tagsAtManifest
select "name" from "tag" where "repository_id" = ? and "digest" = ? order by "name" limit ?;
-- catalog.tagsByName
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."name" >= ? and ("tag"."name" > ? or "tag"."name" > ?) and "tag"."name" <= ? and ("tag"."name" < ? or "tag"."name" <= ?) and lower("tag"."name") like ? escape '\' order by "tag"."name" asc, "tag"."name" asc limit ?;
-- catalog.tagsByNameDown
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."name" <= ? and ("tag"."name" < ? or "tag"."name" < ?) and "tag"."name" >= ? and ("tag"."name" > ? or "tag"."name" >= ?) and lower("tag"."name") like ? escape '\' order by "tag"."name" desc, "tag"."name" desc limit ?;
-- catalog.tagsByPush
select "tag"."name", "tag"."digest", "tag"."updated_at" as "pushedAt", "tag_pull"."last_at" as "tagPulledAt", "manifest_pull"."digest_at" as "digestPulledAt", "manifest"."annotations" from "tag" left join "manifest" on "manifest"."repository_id" = "tag"."repository_id" and "manifest"."digest" = "tag"."digest" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" left join "manifest_pull" on "manifest_pull"."repository_id" = "tag"."repository_id" and "manifest_pull"."digest" = "tag"."digest" where "tag"."repository_id" = ? and "tag"."updated_at" <= ? and ("tag"."updated_at" < ? or "tag"."name" < ?) order by "tag"."updated_at" desc, "tag"."name" desc limit ?;
-- catalog.tagsByUpdate
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."updated_at" >= ? and ("tag"."updated_at" > ? or "tag"."name" > ?) and "tag"."updated_at" <= ? and ("tag"."updated_at" < ? or "tag"."name" <= ?) and lower("tag"."name") like ? escape '\' order by "tag"."updated_at" asc, "tag"."name" asc limit ?;
-- catalog.tagsByUpdateDown
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."updated_at" <= ? and ("tag"."updated_at" < ? or "tag"."name" < ?) and "tag"."updated_at" >= ? and ("tag"."updated_at" > ? or "tag"."name" >= ?) and lower("tag"."name") like ? escape '\' order by "tag"."updated_at" desc, "tag"."name" desc limit ?;
-- catalog.tagsLeadingTo
select "name" from "tag" where "repository_id" = ? and ("digest" = ? or "digest" in (select "parent"."digest" from "manifest_reference" as "need" inner join "manifest" as "parent" on "parent"."id" = "need"."manifest_id" where "need"."repository_id" = ? and "need"."digest" = ? and "need"."kind" = ?)) order by "name" limit ?;
-- catalog.tagsLike
select "name" from "tag" where "repository_id" = ? and name like ? escape '\' and "name" > ? order by "name" limit ?;
-- catalog.tagsOfDigest
select "name" from "tag" where "repository_id" = ? and "digest" = ?;
-- catalog.tagsOfDigestByName
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."digest" = ? and "tag"."name" > ? order by "tag"."name" asc limit ?;
-- catalog.tagsOfDigestByNameDown
select "tag"."name", "tag"."digest", "tag"."updated_at" as "updatedAt", "tag"."updated_by" as "updatedBy", "tag_pull"."last_at" as "pulledAt", "tag_pull"."pulls" from "tag" left join "tag_pull" on "tag_pull"."repository_id" = "tag"."repository_id" and "tag_pull"."name" = "tag"."name" where "tag"."repository_id" = ? and "tag"."digest" = ? and "tag"."name" < ? order by "tag"."name" desc limit ?;
-- catalog.tagsToShed
select "name" from "tag" where "repository_id" = ? and "digest" = ? order by "name" limit ?;
-- catalog.takeUpDeletions
update "stored_blob" set "state" = ?, "review_at" = ? where "state" = ? and "review_at" <= ? and "digest" in (select "old"."digest" from "stored_blob" as "old" where "old"."state" = ? and "old"."review_at" <= ? limit ?);
-- catalog.tellAlert
insert into "quota_alert" ("project_id", "quota", "level", "told_at") values (?, ?, ?, ?) on conflict ("project_id", "quota", "level") do nothing;
-- catalog.totalDue
select coalesce(sum(links), 0) as "links", coalesce(sum(frees), 0) as "blobs", coalesce(sum(frees * size), 0) as "bytes" from (select count(*) as "links", max("due"."size") as "size", case when exists (select "other"."digest" from "repository_blob" as "other" where "other"."digest" = "due"."digest" and ("other"."unneeded_since" is null or "other"."unneeded_since" > ?)) then 0 else 1 end as "frees" from (select "digest", "size" from "repository_blob" where "unneeded_since" <= ? limit ?) as "due" group by "due"."digest") as "blob";
-- catalog.trash
select "id", "project_id" as "projectId", "repository_id" as "repositoryId", "repository", "kind", "name", "digest", "media_type" as "mediaType", "artifact_type" as "artifactType", "size", "with_id" as "withId", "job_id" as "jobId", "problem", "deleted_at" as "deletedAt", "deleted_by" as "deletedBy" from "trash_item" where "project_id" = ? and "id" > ? and "id" <= ? and (? = ? or "kind" = ?) and (? = ? or "repository" = ?) and (? = ? or "deleted_by" = ?) and lower("name") like ? escape '\' and "deleted_at" >= ? and "deleted_at" <= ? order by "id" asc limit ?;
-- catalog.trashDays
select "trash_days" as "days" from "project" where "id" = ?;
-- catalog.trashDown
select "id", "project_id" as "projectId", "repository_id" as "repositoryId", "repository", "kind", "name", "digest", "media_type" as "mediaType", "artifact_type" as "artifactType", "size", "with_id" as "withId", "job_id" as "jobId", "problem", "deleted_at" as "deletedAt", "deleted_by" as "deletedBy" from "trash_item" where "project_id" = ? and "id" < ? and "id" >= ? and (? = ? or "kind" = ?) and (? = ? or "repository" = ?) and (? = ? or "deleted_by" = ?) and lower("name") like ? escape '\' and "deleted_at" >= ? and "deleted_at" <= ? order by "id" desc limit ?;
-- catalog.trashItem
select "id", "project_id" as "projectId", "repository_id" as "repositoryId", "repository", "kind", "name", "digest", "media_type" as "mediaType", "artifact_type" as "artifactType", "size", "with_id" as "withId", "job_id" as "jobId", "problem", "deleted_at" as "deletedAt", "deleted_by" as "deletedBy" from "trash_item" where "id" = ?;
-- catalog.trashManifestSize
select "size" from "trash_manifest" where "item_id" = ?;
-- catalog.trashOfRepository
select "id", "kind", "repository_id" as "repositoryId", "repository", "deleted_at" as "deletedAt" from "trash_item" where "repository_id" = ? and "kind" != ? limit ?;
-- catalog.trashSize
select cast(coalesce(sum(size), 0) as bigint) as "bytes" from "trash_manifest" where "repository_id" = ?;
-- catalog.trashThatWentWith
select "id", "kind", "repository_id" as "repositoryId", "repository", "deleted_at" as "deletedAt" from "trash_item" where "with_id" = ? limit ?;
-- catalog.trashWindow
select "id" from "trash_item" where "project_id" = ? and "id" > ? order by "id" asc limit ? offset ?;
-- catalog.trashWindowDown
select "id" from "trash_item" where "project_id" = ? and "id" < ? order by "id" desc limit ? offset ?;
-- catalog.trashWith
select "id", "project_id" as "projectId", "repository_id" as "repositoryId", "repository", "kind", "name", "digest", "media_type" as "mediaType", "artifact_type" as "artifactType", "size", "with_id" as "withId", "job_id" as "jobId", "problem", "deleted_at" as "deletedAt", "deleted_by" as "deletedBy" from "trash_item" where "with_id" = ? and "kind" = ? and "name" > ? order by "name" limit ?;
-- catalog.trashedAt
select "deleted_at" as "at" from "trash_item" where "id" = ?;
-- catalog.trashedManifestsAfter
select "item_id" as "itemId", "manifest_id" as "id", "digest" from "trash_manifest" where "item_id" > ? order by "item_id" limit ?;
-- catalog.updateImmutabilityRule
update "immutability_rule" set "name" = ?, "description" = ?, "selector" = ?, "enabled" = ?, "version" = "version" + ? where "id" = ?;
-- catalog.updateProject
update "project" set "public" = ?, "description" = ?, "environment" = ?, "pull_networks" = ?, "push_networks" = ?, "version" = "version" + ? where "id" = ?;
-- catalog.updateRepositoryChange
update "repository_change" set "updated_at" = ? where "repository_id" = ?;
-- catalog.updateRepositoryDescription
update "repository" set "description" = ?, "version" = "version" + ? where "id" = ?;
-- catalog.updateVisibility
update "project" set "public" = ?, "version" = "version" + ? where "name" = ?;
-- catalog.upsertTag
insert into "tag" ("repository_id", "name", "digest", "updated_at", "updated_by") values (?, ?, ?, ?, ?) on conflict ("repository_id", "name") do update set "digest" = "excluded"."digest", "updated_at" = "excluded"."updated_at", "updated_by" = "excluded"."updated_by";
-- catalog.usageChanges
select cast(coalesce(sum(changes), 0) as bigint) as "changes" from "project_usage" where "project_id" = ?;
-- content.anyDataKey
select "id", "provider", "version", "wrapped" from "data_key" order by "id" limit ?;
-- content.anyOwnDataKey
select "id", "provider", "version", "wrapped" from "data_key" where "provider" <> ? order by "provider" limit ?;
-- content.anyWrapping
select "key_id" from "key_wrapping" where "name" = ? limit ?;
-- content.askTierRestore
update "blob_tier" set "tier" = ?, "restore_at" = ? where "digest" = ? and "tier" != ? and ("restore_at" is null or "restore_at" <= ?);
-- content.blobWithoutOwnWrapping
select "id" from "data_key" where "digest" = ? and "provider" = ? and "placed" <> ?;
-- content.blobWithoutWrapping
select "data_key"."id" from "data_key" where "data_key"."digest" = ? and "data_key"."placed" <> ? and not exists (select "key_wrapping"."key_id" from "key_wrapping" where "key_wrapping"."key_id" = "data_key"."id" and "key_wrapping"."name" = ?);
-- content.claimEncryptedUpload
update "encrypted_upload" set "writer" = ?, "closed_records" = ?, "updated_at" = ? where "id" = ? and "writer" = ?;
-- content.claimTierRow
update "blob_tier" set "owner" = ?, "owner_until" = ?, "task" = ?, "wanted" = ? where "digest" = ? and ("owner" is null or "owner_until" <= ?);
-- content.copiedDataKey
update "data_key" set "copied" = ? where "id" = ? and "wrapped" = ?;
-- content.countDataKeysUnderOthers
select count(*) as "keys" from "data_key" where "provider" <> ? and ("provider" <> ? or "version" <> ?);
-- content.dataKey
select "id", "provider", "version", "wrapped", "digest", "created_at" as "createdAt" from "data_key" where "id" = ?;
-- content.dataKeyCopyIsOld
update "data_key" set "copied" = ? where "id" = ?;
-- content.dataKeysByVersion
select "provider", "version", count(*) as "keys", sum("copied") as "copied" from "data_key" group by "provider", "version" order by "provider", "version";
-- content.dataKeysOfBlob
select "id", "provider", "placed" from "data_key" where "digest" = ? and "placed" <> ? order by "id";
-- content.dataKeysToCopy
select "id", "provider", "version", "wrapped" from "data_key" where "copied" = ? and "placed" = ? limit ?;
-- content.dataKeysToLookFor
select "id", "digest", "placed" from "data_key" where "look_at" <= ? order by "look_at" limit ?;
-- content.dataKeysUnderOthers
select "id", "provider", "version", "wrapped" from "data_key" where "id" > ? and "provider" <> ? and ("provider" <> ? or "version" <> ?) order by "id" limit ?;
-- content.deleteDataKey
delete from "data_key" where "id" = ?;
-- content.deleteEncryptedUpload
delete from "encrypted_upload" where "id" = ?;
-- content.deleteSegments
delete from "encrypted_segment" where "upload_id" = ? and "start" >= ?;
-- content.deleteUnownedDataKey
delete from "data_key" where "id" = ? and "digest" is null;
-- content.deleteWrapping
delete from "key_wrapping" where "key_id" = ? and "name" = ?;
-- content.deleteWrappingsOfKey
delete from "key_wrapping" where "key_id" = ?;
-- content.doubleTierRow
update "blob_tier" set "leftover" = ?, "leftover_at" = ? where "digest" = ? and "tier" != ? and "leftover" is null and "owner" is null;
-- content.dropEncryptedTail
update "encrypted_upload" set "tail" = ? where "id" = ? and "tail_record" > ?;
-- content.dueTierLeftovers
select "digest" from "blob_tier" where "leftover_at" <= ? and ("owner" is null or "owner_until" <= ?) order by "leftover_at" limit ?;
-- content.encryptedBlobSize
select "size" from "data_key" where "digest" = ? limit ?;
-- content.encryptedUpload
select "tail", "writer", "key_id" as "keyId", "tail_record" as "tailRecord", "closed_records" as "closedRecords", "updated_at" as "updatedAt" from "encrypted_upload" where "id" = ?;
-- content.encryptionMark
select "at" from "encryption_mark" where "name" = ?;
-- content.endTierRestore
update "blob_tier" set "tier" = ?, "restore_at" = ? where "digest" = ? and "tier" = ?;
-- content.forgetDataKeyCopies
update "data_key" set "copied" = ? where "copied" = ?;
-- content.forgetTierRow
delete from "blob_tier" where "digest" = ? and "owner" = ?;
-- content.forgetTierRows
delete from "blob_tier";
-- content.freeTierRows
update "blob_tier" set "owner_until" = ? where "owner" is not null;
-- content.holdEncryptedUpload
update "encrypted_upload" set "updated_at" = ? where "id" = ? and "writer" = ?;
-- content.insertDataKey
insert into "data_key" ("id", "provider", "version", "wrapped", "digest", "size", "placed", "look_at", "copied", "created_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("id") do nothing;
-- content.insertEncryptedUpload
insert into "encrypted_upload" ("id", "key_id", "writer", "updated_at", "tail_record", "tail", "closed_records") values (?, ?, ?, ?, ?, ?, ?);
-- content.insertSegment
insert into "encrypted_segment" ("upload_id", "start", "salt") values (?, ?, ?);
-- content.insertTierRow
insert into "blob_tier" ("digest", "tier", "since", "bytes", "sha256", "restore_at", "leftover", "leftover_at", "owner", "owner_until", "task", "wanted") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("digest") do nothing;
-- content.insertWrapping
insert into "key_wrapping" ("key_id", "name", "provider", "version", "wrapped") select "data_key"."id", cast(? as text) as "name", cast(? as text) as "provider", cast(? as text) as "version", cast(? as text) as "wrapped" from "data_key" where "data_key"."id" = ? on conflict ("key_id", "name") do nothing;
-- content.lookAgainForDataKeys
update "data_key" set "look_at" = ? where "digest" = ? and "id" <> ?;
-- content.noteTierLeftover
update "blob_tier" set "leftover" = ?, "leftover_at" = ? where "digest" = ? and "owner" = ?;
-- content.oldEncryptedUploads
select "id" from "encrypted_upload" where "updated_at" < ? and "id" > ? order by "id" limit ?;
-- content.ownDataKey
update "data_key" set "digest" = ?, "size" = ?, "look_at" = ? where "id" = ?;
-- content.pageOfTier
select "digest", "tier", "since", "bytes", "sha256", "leftover", "leftover_at" as "leftoverAt", "task", "restore_at" as "restoreAt" from "blob_tier" where "tier" = ? and "digest" > ? order by "digest" limit ?;
-- content.placeDataKey
update "data_key" set "placed" = ?, "look_at" = ? where "id" = ?;
-- content.placeTierRow
insert into "blob_tier" ("digest", "tier", "since", "bytes", "sha256", "restore_at", "leftover", "leftover_at", "owner", "owner_until", "task", "wanted") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("digest") do nothing;
-- content.placedDataKey
select "id" from "data_key" where "digest" = ? and "placed" = ? limit ?;
-- content.renewTierRow
update "blob_tier" set "owner_until" = ? where "digest" = ? and "owner" = ? and "wanted" = ?;
-- content.rewrapDataKey
update "data_key" set "provider" = ?, "version" = ?, "wrapped" = ?, "copied" = ? where "id" = ? and "wrapped" = ?;
-- content.rewrapWrapping
update "key_wrapping" set "version" = ?, "wrapped" = ? where "key_id" = ? and "name" = ? and "wrapped" = ?;
-- content.saveEncryptedTail
update "encrypted_upload" set "tail_record" = ?, "tail" = ?, "updated_at" = ? where "id" = ? and "writer" = ?;
-- content.segments
select "start", "salt" from "encrypted_segment" where "upload_id" = ? and "start" < ? order by "start";
-- content.setEncryptionMark
insert into "encryption_mark" ("name", "at") values (?, ?) on conflict ("name") do update set "at" = ?;
-- content.setOwnWrapping
update "data_key" set "provider" = ?, "version" = ?, "wrapped" = ?, "copied" = ? where "id" = ?;
-- content.setTierMark
insert into "encryption_mark" ("name", "at") values (?, ?) on conflict ("name") do nothing;
-- content.settleTierRow
update "blob_tier" set "tier" = ?, "since" = ?, "bytes" = ?, "sha256" = ?, "leftover" = ?, "leftover_at" = ?, "restore_at" = ?, "owner" = ?, "owner_until" = ?, "task" = ?, "wanted" = ? where "digest" = ? and "owner" = ?;
-- content.someColdBlob
select "digest" from "blob_tier" where "tier" in (?, ?) limit ?;
-- content.sumOfTier
select count(*) as "blobs", sum("bytes") as "bytes" from "blob_tier" where "tier" = ?;
-- content.tierMark
select "at" from "encryption_mark" where "name" = ?;
-- content.tierRow
select "digest", "tier", "since", "bytes", "sha256", "leftover", "leftover_at" as "leftoverAt", "task", "restore_at" as "restoreAt" from "blob_tier" where "digest" = ?;
-- content.wantTierRow
update "blob_tier" set "wanted" = ? where "digest" = ? and "owner" is not null;
-- content.wrappingsByVersion
select "name", "provider", "version", count(*) as "keys" from "key_wrapping" group by "name", "provider", "version" order by "name", "provider", "version";
-- content.wrappingsOfKey
select "name", "provider", "version", "wrapped" from "key_wrapping" where "key_id" = ? order by "name";
-- content.wrappingsUnderOthers
select "key_id" as "id", "provider", "version", "wrapped" from "key_wrapping" where "name" = ? and "key_id" > ? and ("provider" <> ? or "version" <> ?) order by "key_id" limit ?;
-- evidence.anyHold
select "id" from "audit_hold" where "released_at" is null limit ?;
-- evidence.checkpointsAfter
select "seq", "at", "body", "signature" from "audit_checkpoint" where "seq" > ? order by "seq" limit ?;
-- evidence.dropRecords
delete from "audit_record" where "seq" <= ?;
-- evidence.firstRecord
select "seq" from "audit_record" order by "seq" limit ?;
-- evidence.firstSince
select "seq" from "audit_record" where "at" >= ? order by "at", "seq" limit ?;
-- evidence.hold
select "id", "name", "reason", "placed_at" as "placedAt", "placed_by" as "placedBy", "released_at" as "releasedAt", "released_by" as "releasedBy" from "audit_hold" where "id" = ?;
-- evidence.holdInForce
select "id" from "audit_hold" where "name" = ? and "released_at" is null;
-- evidence.holds
select "id", "name", "reason", "placed_at" as "placedAt", "placed_by" as "placedBy", "released_at" as "releasedAt", "released_by" as "releasedBy" from "audit_hold" where "id" < ? order by "id" desc limit ?;
-- evidence.insertCheckpoint
insert into "audit_checkpoint" ("seq", "at", "body", "signature") values (?, ?, ?, ?) on conflict ("seq") do nothing;
-- evidence.newestCheckpoint
select "seq", "at", "body", "signature" from "audit_checkpoint" order by "seq" desc limit ?;
-- evidence.newestCheckpointBefore
select "seq", "at", "body", "signature" from "audit_checkpoint" where "at" < ? and "seq" <= ? order by "seq" desc limit ?;
-- evidence.placeHold
insert into "audit_hold" ("name", "reason", "placed_at", "placed_by") values (?, ?, ?, ?) returning "id";
-- evidence.recordBySeq
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" = ?;
-- evidence.recordsByNumber
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" < ? and "seq" >= ? and (? = ? or "project" = ?) and (? = ? or "actor" = ?) and (? = ? or "action" = ?) and (? = ? or "repository" = ?) and (? = ? or "outcome" = ?) order by "seq" desc limit ?;
-- evidence.recordsByaction
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" < ? and "seq" >= ? and (? = ? or "project" = ?) and (? = ? or "actor" = ?) and (? = ? or "repository" = ?) and (? = ? or "outcome" = ?) and "action" = ? order by "seq" desc limit ?;
-- evidence.recordsByactor
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" < ? and "seq" >= ? and (? = ? or "project" = ?) and (? = ? or "action" = ?) and (? = ? or "repository" = ?) and (? = ? or "outcome" = ?) and "actor" = ? order by "seq" desc limit ?;
-- evidence.recordsByproject
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" < ? and "seq" >= ? and (? = ? or "actor" = ?) and (? = ? or "action" = ?) and (? = ? or "repository" = ?) and (? = ? or "outcome" = ?) and "project" = ? order by "seq" desc limit ?;
-- evidence.recordsFrom
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" >= ? and "seq" <= ? order by "seq" limit ?;
-- evidence.recordsUpFrom
select "seq", "at", "actor", "action", "outcome", "project", "repository", "body", "hash" from "audit_record" where "seq" > ? order by "seq" limit ?;
-- evidence.releaseHold
update "audit_hold" set "released_at" = ?, "released_by" = ? where "id" = ? and "released_at" is null;
-- forwarding.advance
update "audit_sink" set "position" = ?, "attempts" = ?, "next_at" = ?, "last_success_at" = ?, "parked_run" = ?, "missed" = "missed" + ? where "id" = ? and "version" = ?;
-- forwarding.changeSink
update "audit_sink" set "kind" = ?, "target" = ?, "secrets" = ?, "enabled" = ?, "position" = ?, "attempts" = ?, "next_at" = ?, "parked_run" = ?, "version" = "version" + ? where "id" = ?;
-- forwarding.countParked
select "sink_id" as "id", count(*) as "parked" from "audit_sink_parked" group by "sink_id";
-- forwarding.deleteParked
delete from "audit_sink_parked" where "sink_id" = ? and "seq" >= ?;
-- forwarding.deleteSink
delete from "audit_sink" where "id" = ?;
-- forwarding.dueSinks
select "id", "name", "kind", "target", "secrets", "enabled", "position", "attempts", "next_at" as "nextAt", "last_error" as "lastError", "last_error_at" as "lastErrorAt", "last_success_at" as "lastSuccessAt", "parked_run" as "parkedRun", "missed", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "audit_sink" where "enabled" = ? and "next_at" <= ? and "position" < (select "audit_head"."seq" from "audit_head" where "audit_head"."id" = ?);
-- forwarding.fail
update "audit_sink" set "attempts" = ?, "next_at" = ?, "last_error" = ?, "last_error_at" = ? where "id" = ? and "version" = ?;
-- forwarding.insertSink
insert into "audit_sink" ("name", "kind", "target", "enabled", "position", "attempts", "next_at", "parked_run", "missed", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("name") do nothing returning "id";
-- forwarding.lowestPosition
select "position" from "audit_sink" where "enabled" = ? order by "position" limit ?;
-- forwarding.newestRecord
select "seq" from "audit_head" where "id" = ?;
-- forwarding.park
insert into "audit_sink_parked" ("sink_id", "seq", "reason", "at") values (?, ?, ?, ?) on conflict ("sink_id", "seq") do nothing;
-- forwarding.parkedAfter
select "seq", "reason", "at" from "audit_sink_parked" where "sink_id" = ? and "seq" > ? order by "seq" limit ?;
-- forwarding.recordsAfter
select "seq", "at", "body", "hash" from "audit_record" where "seq" > ? order by "seq" limit ?;
-- forwarding.setSecrets
update "audit_sink" set "secrets" = ? where "id" = ?;
-- forwarding.sink
select "id", "name", "kind", "target", "secrets", "enabled", "position", "attempts", "next_at" as "nextAt", "last_error" as "lastError", "last_error_at" as "lastErrorAt", "last_success_at" as "lastSuccessAt", "parked_run" as "parkedRun", "missed", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "audit_sink" where "name" = ?;
-- forwarding.sinks
select "id", "name", "kind", "target", "secrets", "enabled", "position", "attempts", "next_at" as "nextAt", "last_error" as "lastError", "last_error_at" as "lastErrorAt", "last_success_at" as "lastSuccessAt", "parked_run" as "parkedRun", "missed", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "audit_sink" order by "name";
-- idempotency.deleteOldAnswers
delete from "idempotency" where "created_at" < ?;
-- idempotency.findAnswer
select "fingerprint", "answer" from "idempotency" where "key" = ?;
-- idempotency.insertAnswer
insert into "idempotency" ("key", "fingerprint", "answer", "created_at") values (?, ?, ?, ?);
-- installation.find
select "value" from "installation" where "name" = ?;
-- installation.forget
delete from "installation" where "name" = ?;
-- installation.settle
insert into "installation" ("name", "value") values (?, ?) on conflict ("name") do nothing;
-- inventory.backlogCursor
select "manifest_id" as "at" from "inventory_cursor" where "id" = ?;
-- inventory.componentsAfter
select "component"."id", exists (select "evidence_component"."evidence_id" from "evidence_component" where "evidence_component"."component_id" = "component"."id") as "isUsed" from "component" where "component"."id" > ? order by "component"."id" limit ?;
-- inventory.contentOfLayer
select "bytes" from "layer_content" where "layer_id" = ?;
-- inventory.deleteComponent
delete from "component" where "id" = ? and not exists (select "evidence_id" from "evidence_component" where "component_id" = ?);
-- inventory.deleteExceptions
delete from "image_exception" where "image_id" = ?;
-- inventory.deleteImage
delete from "image_inventory" where "id" = ?;
-- inventory.deleteLayer
delete from "layer_inventory" where "id" = ?;
-- inventory.deleteSomeEvidence
delete from "layer_evidence" where "id" in (select "old"."id" from "layer_evidence" as "old" where "old"."layer_id" = ? order by "old"."id" limit ?);
-- inventory.evidenceOfLayer
select "id", "path", "inside", "owned" from "layer_evidence" where "layer_id" = ? and "id" > ? order by "id" limit ?;
-- inventory.findComponent
select "id" from "component" where "type" = ? and "name" = ? and "version" = ? and "arch" = ? and "source_name" = ? and "source_version" = ? and "modularity" = ?;
-- inventory.finishImage
update "image_inventory" set "state" = ?, "reason" = ?, "settled" = ?, "os_id" = ?, "os_version" = ?, "os_name" = ?, "components" = ?, "made_at" = ? where "id" = ? and "settled" = ? and "waiting" = ?;
-- inventory.finishLayer
update "layer_inventory" set "state" = ?, "diff_id" = ?, "incomplete" = ?, "components" = ?, "entries" = ?, "bytes" = ?, "duration_ms" = ?, "made_at" = ? where "id" = ?;
-- inventory.forgetImage
delete from "image_inventory" where "id" = ?;
-- inventory.imageByDigest
select "id", "digest", "state", "reason", "waiting", "settled", "os_id" as "osId", "os_version" as "osVersion", "os_name" as "osName", "components", "made_at" as "madeAt" from "image_inventory" where "digest" = ?;
-- inventory.imageWithLayer
select "image_id" from "image_layer" where "layer_id" = ? limit ?;
-- inventory.imagesAfter
select "image_inventory"."id", (exists (select "manifest"."id" from "manifest" where "manifest"."digest" = "image_inventory"."digest") or exists (select "trash_manifest"."item_id" from "trash_manifest" where "trash_manifest"."digest" = "image_inventory"."digest")) as "isThere" from "image_inventory" where "image_inventory"."id" > ? order by "image_inventory"."id" limit ?;
-- inventory.insertComponent
insert into "component" ("type", "name", "version", "arch", "source_name", "source_version", "modularity") values (?, ?, ?, ?, ?, ?, ?) on conflict ("type", "name", "version", "arch", "source_name", "source_version", "modularity") do nothing;
-- inventory.insertContent
insert into "layer_content" ("layer_id", "bytes") values (?, ?) on conflict ("layer_id") do update set "bytes" = "excluded"."bytes";
-- inventory.insertEvidence
insert into "layer_evidence" ("layer_id", "path", "inside", "owned") values (?, ?, ?, ?) returning "id";
-- inventory.insertEvidenceComponent
insert into "evidence_component" ("evidence_id", "component_id") values (?, ?) on conflict ("evidence_id", "component_id") do nothing;
-- inventory.insertException
insert into "image_exception" ("image_id", "evidence_id") values (?, ?) on conflict ("image_id", "evidence_id") do nothing;
-- inventory.insertImage
insert into "image_inventory" ("digest", "state", "reason", "waiting", "settled", "os_id", "os_version", "os_name", "components", "created_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("digest") do nothing;
-- inventory.insertImageLayer
insert into "image_layer" ("image_id", "position", "digest", "layer_id", "problem") values (?, ?, ?, ?, ?) on conflict ("image_id", "position") do nothing;
-- inventory.insertLayer
insert into "layer_inventory" ("digest", "format", "state", "components", "entries", "bytes", "duration_ms", "created_at") values (?, ?, ?, ?, ?, ?, ?, ?) on conflict ("digest", "format") do nothing;
-- inventory.layerByDigest
select "id", "digest", "format", "state", "diff_id" as "diffId", "incomplete", "components", "entries", "bytes", "duration_ms" as "durationMs", "made_at" as "madeAt" from "layer_inventory" where "digest" = ? and "format" = ?;
-- inventory.layersOfImage
select "image_layer"."position", "image_layer"."digest", "image_layer"."layer_id" as "layerId", "image_layer"."problem", "layer_inventory"."state", "layer_inventory"."made_at" as "madeAt" from "image_layer" left join "layer_inventory" on "layer_inventory"."id" = "image_layer"."layer_id" where "image_layer"."image_id" = ? order by "image_layer"."position";
-- inventory.layersOfOlder
select "older"."digest" from "layer_inventory" as "older" where "older"."state" = ? and "older"."format" < ? and not exists (select "newer"."id" from "layer_inventory" as "newer" where "newer"."digest" = "older"."digest" and "newer"."format" = ?) limit ?;
-- inventory.moveCursor
insert into "inventory_cursor" ("id", "manifest_id") values (?, ?) on conflict ("id") do update set "manifest_id" = "excluded"."manifest_id";
-- inventory.newestLayerOfDigest
select "id", "digest", "format", "state", "diff_id" as "diffId", "incomplete", "components", "entries", "bytes", "duration_ms" as "durationMs", "made_at" as "madeAt" from "layer_inventory" where "digest" = ? and "state" = ? order by "format" desc limit ?;
-- inventory.newestManifest
select "id" from "manifest" order by "id" desc limit ?;
-- inventory.placesOfImage
select "manifest"."id", "manifest"."media_type" as "mediaType", "repository"."name" as "repository" from "manifest" inner join "repository" on "repository"."id" = "manifest"."repository_id" where "manifest"."digest" = ? order by "manifest"."repository_id" limit ?;
-- inventory.readyImage
select "id" from "image_inventory" where "settled" = ? and "waiting" = ? limit ?;
-- inventory.readyImages
select "id", "digest" from "image_inventory" where "settled" = ? and "waiting" = ? order by "id" limit ?;
-- inventory.recountImages
update "image_inventory" set "settled" = ?, "waiting" = (select count(distinct "part"."layer_id") as "layers" from "image_layer" as "part" inner join "layer_inventory" on "layer_inventory"."id" = "part"."layer_id" where "part"."image_id" = "image_inventory"."id" and "layer_inventory"."state" = ?) where "id" in (select "image_id" from "image_layer" where "layer_id" = ?);
-- inventory.removeSomeEvidence
delete from "layer_evidence" where "id" in (select "old"."id" from "layer_evidence" as "old" where "old"."layer_id" = ? limit ?);
-- inventory.setWaiting
update "image_inventory" set "waiting" = ?, "settled" = ? where "id" = ?;
-- inventory.takeNewer
update "image_layer" set "layer_id" = ? where "layer_id" in (select "id" from "layer_inventory" where "digest" = ? and "id" != ?);
-- inventory.unreadLayers
select "digest" from "layer_inventory" where "state" != ? and exists (select "image_id" from "image_layer" where "image_layer"."layer_id" = "layer_inventory"."id") order by "id" limit ?;
-- inventory.unsoundLayers
select "id", "digest" from "layer_inventory" where "id" in (select "layer_id" from "image_layer" where "image_id" = ?) and ("state" = ? or "incomplete" is not null);
-- inventory.unusedLayers
select "layer_inventory"."id" from "layer_inventory" where "layer_inventory"."created_at" < ? and not exists (select "image_layer"."image_id" from "image_layer" where "image_layer"."layer_id" = "layer_inventory"."id") limit ?;
-- inventory.waitAgain
update "layer_inventory" set "state" = ? where "id" = ?;
-- inventory.waitForAbsent
update "layer_inventory" set "state" = ? where "digest" = ? and "format" = ? and "state" = ?;
-- inventory.waitingLayers
select "id" from "layer_inventory" where "state" = ? limit ?;
-- jobs.cancelRunning
update "job" set "cancelled" = ?, "again" = ? where "id" = ? and "state" = ?;
-- jobs.cancelWaiting
update "job" set "state" = ?, "due_at" = ?, "unique_key" = ?, "finished_at" = ? where "id" = ? and "state" = ? and ("unique_key" is null or "unique_key" != ?);
-- jobs.cancelledOf
select "id", "fence" from "job" where "state" = ? and "cancelled" = ? and "holder" = ?;
-- jobs.claim
update "job" set "state" = ?, "due_at" = ?, "attempts" = "attempts" + ?, "fence" = "fence" + ?, "holder" = ?, "again" = ?, "started_at" = ? where "id" = (select "next"."id" from "job" as "next" where "next"."kind" = ? and "next"."due_at" <= ? order by "next"."due_at", "next"."id" limit ?) and "due_at" <= ? returning "id", "payload", "attempts", "fence", "cancelled", "last_error" as "lastError";
-- jobs.count
select "state", count(*) as "jobs" from "job" group by "state";
-- jobs.due
select "id" from "job" where "kind" = ? and "due_at" <= ? limit ?;
-- jobs.enqueue
insert into "job" ("kind", "unique_key", "payload", "state", "due_at", "attempts", "fence", "again", "cancelled", "created_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("kind", "unique_key") do update set "payload" = "excluded"."payload", "again" = ?, "due_at" = case when ("job"."state" = ? and "job"."attempts" = ? and "excluded"."due_at" < "job"."due_at") then "excluded"."due_at" else "job"."due_at" end returning "id";
-- jobs.enqueueRecurring
insert into "job" ("kind", "unique_key", "payload", "state", "due_at", "attempts", "fence", "again", "cancelled", "created_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("kind", "unique_key") do nothing;
-- jobs.extendLease
update "job" set "due_at" = ? where "id" = ? and "fence" = ? and "state" = ?;
-- jobs.find
select "id", "kind", "state", "attempts", "progress", "result", "last_error" as "error", "created_at" as "createdAt", "started_at" as "startedAt", "finished_at" as "finishedAt" from "job" where "id" = ?;
-- jobs.findByKey
select "id", "kind", "state", "attempts", "progress", "result", "last_error" as "error", "created_at" as "createdAt", "started_at" as "startedAt", "finished_at" as "finishedAt" from "job" where "kind" = ? and "unique_key" = ?;
-- jobs.freeAll
update "job" set "state" = ?, "due_at" = ?, "holder" = ? where "state" = ?;
-- jobs.freeOf
update "job" set "state" = ?, "due_at" = ?, "holder" = ? where "state" = ? and "holder" = ?;
-- jobs.hastenRecurring
update "job" set "due_at" = ? where "kind" = ? and "unique_key" = ? and "state" = ? and "attempts" = ? and "due_at" > ?;
-- jobs.list
select "id", "kind", "state", "attempts", "progress", "result", "last_error" as "error", "created_at" as "createdAt", "started_at" as "startedAt", "finished_at" as "finishedAt" from "job" where "id" > ? and (? = ? or "kind" = ?) and (? = ? or "state" = ?) order by "id" asc limit ?;
-- jobs.listDown
select "id", "kind", "state", "attempts", "progress", "result", "last_error" as "error", "created_at" as "createdAt", "started_at" as "startedAt", "finished_at" as "finishedAt" from "job" where "id" < ? and (? = ? or "kind" = ?) and (? = ? or "state" = ?) order by "id" desc limit ?;
-- jobs.progress
update "job" set "progress" = ? where "id" = ? and "fence" = ? and "state" = ?;
-- jobs.prune
delete from "job" where "id" in (select "old"."id" from "job" as "old" where "old"."state" = ? and "old"."finished_at" < ? limit ?);
-- jobs.reschedule
update "job" set "state" = ?, "due_at" = ?, "attempts" = ?, "holder" = ?, "cancelled" = ?, "result" = ?, "last_error" = ? where "id" = ? and "fence" = ? and "state" = ?;
-- jobs.settle
update "job" set "state" = ?, "due_at" = ?, "unique_key" = ?, "holder" = ?, "result" = ?, "last_error" = ?, "finished_at" = ? where "id" = ? and "fence" = ? and "state" = ? and "again" = ?;
-- lifecycle.saveScrubPass
insert into "scrub_pass" ("id", "number", "phase", "position", "blobs", "bytes", "manifests", "damaged", "orphans", "started_at", "updated_at", "finished_at", "scrubbed_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("id") do update set "number" = "excluded"."number", "phase" = "excluded"."phase", "position" = "excluded"."position", "blobs" = "excluded"."blobs", "bytes" = "excluded"."bytes", "manifests" = "excluded"."manifests", "damaged" = "excluded"."damaged", "orphans" = "excluded"."orphans", "started_at" = "excluded"."started_at", "updated_at" = "excluded"."updated_at", "finished_at" = "excluded"."finished_at", "scrubbed_at" = "excluded"."scrubbed_at";
-- lifecycle.scrubPass
select "number", "phase", "position", "blobs", "bytes", "manifests", "damaged", "orphans", "started_at" as "startedAt", "updated_at" as "updatedAt", "finished_at" as "finishedAt", "scrubbed_at" as "scrubbedAt" from "scrub_pass" where "id" = ?;
-- local.appliedMigrations
select "name" from "migration" order by "name";
-- machines.accessKeyOf
select "id", "name", "limits", "expires_at" as "expiresAt", "created_at" as "createdAt", "version" from "access_key" where "id" = ? and "owner_kind" = ? and "owner_id" = ?;
-- machines.accessKeys
select "id", "name", "limits", "expires_at" as "expiresAt", "created_at" as "createdAt", "version" from "access_key" where "owner_kind" = ? and "owner_id" = ? and "name" > ? and lower("name") like ? escape '\' order by "name" asc limit ?;
-- machines.accessKeysDescending
select "id", "name", "limits", "expires_at" as "expiresAt", "created_at" as "createdAt", "version" from "access_key" where "owner_kind" = ? and "owner_id" = ? and "name" < ? and lower("name") like ? escape '\' order by "name" desc limit ?;
-- machines.countAccessKeysOf
select count(*) as "count" from "access_key" where "owner_kind" = ? and "owner_id" = ?;
-- machines.deleteAccessKey
delete from "access_key" where "id" = ?;
-- machines.deleteAccessKeysOf
delete from "access_key" where "owner_kind" = ? and "owner_id" = ?;
-- machines.deleteKeySecretsBelow
delete from "access_key_secret" where "key_id" = ? and "number" < ?;
-- machines.deleteKeySecretsOf
delete from "access_key_secret" where "key_id" in (select "id" from "access_key" where "owner_kind" = ? and "owner_id" = ?);
-- machines.deleteRightsOfRobot
delete from "role_assignment" where "subject_kind" = ? and "subject_id" = ?;
-- machines.deleteRobot
delete from "robot" where "id" = ?;
-- machines.deleteRobotKey
delete from "robot_key" where "id" = ?;
-- machines.deleteRobotKeysOf
delete from "robot_key" where "robot_id" = ?;
-- machines.deleteTrustRule
delete from "trust_rule" where "id" = ?;
-- machines.deleteTrustRulesOf
delete from "trust_rule" where "robot_id" = ?;
-- machines.endKeySecrets
update "access_key_secret" set "ends_at" = ? where "key_id" = ? and ("ends_at" is null or "ends_at" > ?);
-- machines.firstAccessKeyOf
select "id", "name", "limits", "expires_at" as "expiresAt", "created_at" as "createdAt", "version" from "access_key" where "owner_kind" = ? and "owner_id" = ? order by "name" limit ?;
-- machines.insertAccessKey
insert into "access_key" ("owner_kind", "owner_id", "name", "limits", "expires_at", "created_at", "version") values (?, ?, ?, ?, ?, ?, ?) on conflict ("owner_kind", "owner_id", "name") do nothing returning "id";
-- machines.insertKeySecret
insert into "access_key_secret" ("key_id", "number", "hash", "created_at", "ends_at", "last_used_at", "last_used_from") values (?, ?, ?, ?, ?, ?, ?);
-- machines.insertRobot
insert into "robot" ("name", "project_id", "description", "disabled", "expires_at", "generation", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("name") do nothing returning "id";
-- machines.insertRobotKey
insert into "robot_key" ("robot_id", "kid", "jwk", "audience", "expires_at", "created_at", "created_by") values (?, ?, ?, ?, ?, ?, ?) returning "id";
-- machines.insertTrustRule
insert into "trust_rule" ("robot_id", "name", "issuer", "audience", "jwks", "condition", "disabled", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("robot_id", "name") do nothing returning "id";
-- machines.keySecretByHash
select "access_key_secret"."key_id" as "keyId", "access_key_secret"."number", "access_key_secret"."ends_at" as "endsAt", "access_key"."owner_kind" as "ownerKind", "access_key"."owner_id" as "ownerId", "access_key"."expires_at" as "expiresAt", "access_key"."limits" from "access_key_secret" inner join "access_key" on "access_key"."id" = "access_key_secret"."key_id" where "access_key_secret"."hash" = ?;
-- machines.keySecretByNumber
select "access_key_secret"."key_id" as "keyId", "access_key_secret"."number", "access_key_secret"."ends_at" as "endsAt", "access_key"."owner_kind" as "ownerKind", "access_key"."owner_id" as "ownerId", "access_key"."expires_at" as "expiresAt", "access_key"."limits" from "access_key_secret" inner join "access_key" on "access_key"."id" = "access_key_secret"."key_id" where "access_key_secret"."key_id" = ? and "access_key_secret"."number" = ?;
-- machines.keySecrets
select "number", "created_at" as "createdAt", "ends_at" as "endsAt", "last_used_at" as "lastUsedAt", "last_used_from" as "lastUsedFrom" from "access_key_secret" where "key_id" = ? order by "number";
-- machines.keySecretsOfOwner
select "access_key_secret"."number", "access_key_secret"."created_at" as "createdAt", "access_key_secret"."ends_at" as "endsAt", "access_key_secret"."last_used_at" as "lastUsedAt", "access_key_secret"."last_used_from" as "lastUsedFrom" from "access_key" inner join "access_key_secret" on "access_key_secret"."key_id" = "access_key"."id" where "access_key"."owner_kind" = ? and "access_key"."owner_id" = ? order by "access_key_secret"."key_id", "access_key_secret"."number";
-- machines.noteKeyUse
update "access_key_secret" set "last_used_at" = ?, "last_used_from" = ? where "key_id" = ? and "number" = ? and ("last_used_at" is null or "last_used_at" < ?);
-- machines.projectIdByName
select "id" from "project" where "name" = ?;
-- machines.rightsOfRobot
select "role_assignment"."role", "role_assignment"."permissions", "role_assignment"."pattern", "project"."name" as "project" from "role_assignment" left join "project" on "project"."id" = "role_assignment"."project_id" where "role_assignment"."subject_kind" = ? and "role_assignment"."subject_id" = ? order by "role_assignment"."id";
-- machines.robotById
select "id", "name", "project_id" as "projectId", "description", "disabled", "expires_at" as "expiresAt", "generation", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "robot" where "id" = ?;
-- machines.robotKeyById
select "id", "robot_id" as "robotId", "kid", "jwk", "audience", "expires_at" as "expiresAt", "created_at" as "createdAt", "created_by" as "createdBy" from "robot_key" where "id" = ?;
-- machines.robotKeyByKid
select "id", "robot_id" as "robotId", "kid", "jwk", "audience", "expires_at" as "expiresAt", "created_at" as "createdAt", "created_by" as "createdBy" from "robot_key" where "kid" = ?;
-- machines.robotKeysOf
select "id", "robot_id" as "robotId", "kid", "jwk", "audience", "expires_at" as "expiresAt", "created_at" as "createdAt", "created_by" as "createdBy" from "robot_key" where "robot_id" = ? order by "id";
-- machines.robotOf
select "id", "name", "project_id" as "projectId", "description", "disabled", "expires_at" as "expiresAt", "generation", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "robot" where "id" = ? and "project_id" is not distinct from ?;
-- machines.robots
select "id", "name", "project_id" as "projectId", "description", "disabled", "expires_at" as "expiresAt", "generation", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "robot" where "project_id" is not distinct from ? and "name" > ? and lower("name") like ? escape '\' and (? = ? or "disabled" = ?) order by "name" asc limit ?;
-- machines.robotsDescending
select "id", "name", "project_id" as "projectId", "description", "disabled", "expires_at" as "expiresAt", "generation", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "robot" where "project_id" is not distinct from ? and "name" < ? and lower("name") like ? escape '\' and (? = ? or "disabled" = ?) order by "name" desc limit ?;
-- machines.robotsOfProject
select "id" from "robot" where "project_id" = ?;
-- machines.trustRuleById
select "trust_rule"."id", "trust_rule"."robot_id" as "robotId", "trust_rule"."name", "trust_rule"."issuer", "trust_rule"."audience", "trust_rule"."jwks", "trust_rule"."condition", "trust_rule"."disabled", "trust_rule"."created_at" as "createdAt", "trust_rule"."created_by" as "createdBy", "trust_rule"."version" from "trust_rule" where "trust_rule"."id" = ?;
-- machines.trustRulesFor
select "trust_rule"."id", "trust_rule"."robot_id" as "robotId", "trust_rule"."name", "trust_rule"."issuer", "trust_rule"."audience", "trust_rule"."jwks", "trust_rule"."condition", "trust_rule"."disabled", "trust_rule"."created_at" as "createdAt", "trust_rule"."created_by" as "createdBy", "trust_rule"."version" from "trust_rule" inner join "robot" on "robot"."id" = "trust_rule"."robot_id" where "trust_rule"."issuer" = ? and "trust_rule"."disabled" = ? and "robot"."disabled" = ? and (? = ? or "robot"."name" = ?) order by "trust_rule"."id" limit ?;
-- machines.trustRulesOf
select "trust_rule"."id", "trust_rule"."robot_id" as "robotId", "trust_rule"."name", "trust_rule"."issuer", "trust_rule"."audience", "trust_rule"."jwks", "trust_rule"."condition", "trust_rule"."disabled", "trust_rule"."created_at" as "createdAt", "trust_rule"."created_by" as "createdBy", "trust_rule"."version" from "trust_rule" where "trust_rule"."robot_id" = ? order by "trust_rule"."name";
-- machines.updateAccessKey
update "access_key" set "limits" = ?, "expires_at" = ?, "version" = "version" + ? where "id" = ?;
-- machines.updateRobot
update "robot" set "description" = ?, "disabled" = ?, "expires_at" = ?, "generation" = "generation" + ?, "version" = "version" + ? where "id" = ?;
-- machines.updateTrustRule
update "trust_rule" set "audience" = ?, "jwks" = ?, "condition" = ?, "disabled" = ?, "version" = "version" + ? where "id" = ?;
-- outbox.append
insert into "outbox_event" ("topic", "repository", "payload", "created_at") values (?, ?, ?, ?);
-- outbox.eventsAfter
select "id", "topic", "repository", "payload", "created_at" as "at" from "outbox_event" where "id" > ? order by "id" limit ?;
-- outbox.forgetConsumers
delete from "outbox_consumer" where "seen_at" < ?;
-- outbox.newest
select "id" from "outbox_event" order by "id" desc limit ?;
-- outbox.position
select "position" from "outbox_consumer" where "name" = ?;
-- outbox.pruneOld
delete from "outbox_event" where "id" in (select "old"."id" from "outbox_event" as "old" order by "old"."id" limit ?) and "created_at" < ?;
-- outbox.pruneSeen
delete from "outbox_event" where "id" in (select "old"."id" from "outbox_event" as "old" where "old"."id" <= ? order by "old"."id" limit ?);
-- outbox.savePosition
insert into "outbox_consumer" ("name", "position", "seen_at") values (?, ?, ?) on conflict ("name") do update set "position" = "excluded"."position", "seen_at" = "excluded"."seen_at";
-- outbox.slowestPosition
select "position" from "outbox_consumer" order by "position" limit ?;
-- outbox.touchConsumer
insert into "outbox_consumer" ("name", "position", "seen_at") values (?, ?, ?) on conflict ("name") do update set "seen_at" = "excluded"."seen_at";
-- providers.assignmentByProvider
select "id" from "role_assignment" where "subject_kind" = ? and "subject_id" = ? and "created_by" = ?;
-- providers.deleteAssignmentByProvider
delete from "role_assignment" where "subject_kind" = ? and "subject_id" = ? and "created_by" = ?;
-- providers.deleteEndedHints
delete from "oidc_hint" where "session_id" not in (select "session"."id" from "session");
-- providers.deleteEndedOidcLogins
delete from "oidc_login" where "expires_at" <= ?;
-- providers.deleteLink
delete from "identity_link" where "provider_id" = ? and "subject" = ?;
-- providers.deleteLinksOfUser
delete from "identity_link" where "user_id" = ?;
-- providers.deleteProvider
delete from "identity_provider" where "id" = ?;
-- providers.deleteProviderAssignments
delete from "role_assignment" where "created_by" = ?;
-- providers.deleteProviderHints
delete from "oidc_hint" where "provider_id" = ?;
-- providers.deleteProviderLinks
delete from "identity_link" where "provider_id" = ?;
-- providers.deleteProviderMemberships
delete from "group_member" where "source" = ?;
-- providers.deleteSourcedMember
delete from "group_member" where "user_id" = ? and "source" = ? and "group_id" in (select "user_group"."id" from "user_group" where "user_group"."name" = ?);
-- providers.endProviderSessions
delete from "session" where "provider" = ?;
-- providers.groupsBySource
select "user_group"."name" from "group_member" inner join "user_group" on "user_group"."id" = "group_member"."group_id" where "group_member"."user_id" = ? and "group_member"."source" = ? order by "user_group"."name";
-- providers.hint
select "hint" from "oidc_hint" where "session_id" = ? and "provider_id" = ?;
-- providers.insertHint
insert into "oidc_hint" ("session_id", "provider_id", "hint") values (?, ?, ?);
-- providers.insertLink
insert into "identity_link" ("provider_id", "subject", "user_id", "created_at", "last_login_at") values (?, ?, ?, ?, ?) on conflict ("provider_id", "subject") do nothing;
-- providers.insertOidcLogin
insert into "oidc_login" ("hash", "expires_at") values (?, ?) on conflict ("hash") do nothing;
-- providers.insertProvider
insert into "identity_provider" ("name", "kind", "settings", "secret", "enabled", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?) on conflict ("name") do nothing returning "id";
-- providers.insertSourcedMember
insert into "group_member" ("group_id", "user_id", "source") values (?, ?, ?) on conflict ("user_id", "group_id", "source") do nothing;
-- providers.link
select "user_id" as "userId", "last_login_at" as "lastLoginAt" from "identity_link" where "provider_id" = ? and "subject" = ?;
-- providers.linksOfProvider
select "identity_link"."subject", "user"."name" as "user", "identity_link"."created_at" as "createdAt", "identity_link"."last_login_at" as "lastLoginAt" from "identity_link" inner join "user" on "user"."id" = "identity_link"."user_id" where "identity_link"."provider_id" = ? and "identity_link"."subject" > ? order by "identity_link"."subject" limit ?;
-- providers.linksOfUser
select "provider_id" as "providerId", "subject" from "identity_link" where "user_id" = ?;
-- providers.provider
select "id", "name", "settings", "secret", "enabled", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "identity_provider" where "name" = ?;
-- providers.providers
select "id", "name", "settings", "secret", "enabled", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "identity_provider" order by "name";
-- providers.raiseLinkedUsers
update "user" set "generation" = "generation" + ?, "version" = "version" + ? where "id" in (select "user_id" from "identity_link" where "provider_id" = ?);
-- providers.setProviderSecret
update "identity_provider" set "secret" = ? where "id" = ?;
-- providers.touchLink
update "identity_link" set "last_login_at" = ? where "provider_id" = ? and "subject" = ?;
-- providers.updateProvider
update "identity_provider" set "settings" = ?, "secret" = ?, "enabled" = ?, "version" = "version" + ? where "id" = ?;
-- providers.updateUserDetails
update "user" set "email" = ?, "full_name" = ?, "version" = "version" + ? where "id" = ?;
-- providers.userDetails
select "email", "full_name" as "fullName" from "user" where "id" = ?;
-- pulls.addManifestPulls
insert into "manifest_pull" ("repository_id", "digest", "last_at", "digest_at", "pulls") values (?, ?, ?, ?, ?) on conflict ("repository_id", "digest") do update set "last_at" = case when "manifest_pull"."last_at" > "excluded"."last_at" then "manifest_pull"."last_at" else "excluded"."last_at" end, "digest_at" = coalesce("excluded"."digest_at", "manifest_pull"."digest_at"), "pulls" = "manifest_pull"."pulls" + "excluded"."pulls";
-- pulls.addTagPulls
insert into "tag_pull" ("repository_id", "name", "last_at", "pulls") values (?, ?, ?, ?) on conflict ("repository_id", "name") do update set "last_at" = case when "tag_pull"."last_at" > "excluded"."last_at" then "tag_pull"."last_at" else "excluded"."last_at" end, "pulls" = "tag_pull"."pulls" + "excluded"."pulls";
-- pulls.placeOf
select "name", "project_id" as "projectId" from "repository" where "id" = ? and "deleted_at" is null;
-- pulls.purgeManifestPulls
delete from "manifest_pull" where "repository_id" = ? and "digest" in (select "old"."digest" from "manifest_pull" as "old" where "old"."repository_id" = ? order by "old"."digest" limit ?);
-- pulls.purgeTagPulls
delete from "tag_pull" where "repository_id" = ? and "name" in (select "old"."name" from "tag_pull" as "old" where "old"."repository_id" = ? order by "old"."name" limit ?);
-- retention.advance
update "retention_run" set "position" = ?, "looked_at" = "looked_at" + ?, "kept" = "kept" + ?, "deleted" = "deleted" + ?, "failed" = "failed" + ? where "id" = ?;
-- retention.byId
select "id", "project_id" as "projectId", "name", "description", "enabled", "projects", "rules", "uncovered", "untagged_days" as "untaggedDays", "schedule", "next_at" as "nextAt", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "retention_policy" where "id" = ?;
-- retention.byPlaceAndName
select "id" from "retention_policy" where "project_id" = ? and "name" = ?;
-- retention.dropImageLabels
delete from "image_label" where "digest" in (select "old"."digest" from "image_label" as "old" where "old"."read_at" < ? limit ?);
-- retention.dropResults
delete from "retention_result" where "id" in (select "old"."id" from "retention_result" as "old" where "old"."run_id" = ? order by "old"."id" limit ?);
-- retention.dropResultsOfRepository
delete from "retention_result" where "run_id" = ? and "repository" = ?;
-- retention.dropRun
delete from "retention_run" where "id" = ?;
-- retention.dropUnseenUses
delete from "manifest_use" where "repository_id" = ? and "source" = ? and "seen_at" < ?;
-- retention.dropUses
delete from "manifest_use" where "seen_at" < ?;
-- retention.due
select "id", "project_id" as "projectId", "name", "description", "enabled", "projects", "rules", "uncovered", "untagged_days" as "untaggedDays", "schedule", "next_at" as "nextAt", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "retention_policy" where "next_at" <= ? order by "next_at" limit ?;
-- retention.imageLabels
select "labels" from "image_label" where "digest" = ?;
-- retention.insert
insert into "retention_policy" ("project_id", "name", "description", "enabled", "projects", "rules", "uncovered", "untagged_days", "schedule", "next_at", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- retention.insertResult
insert into "retention_result" ("run_id", "repository", "tag", "digest", "outcome", "reasons") values (?, ?, ?, ?, ?, ?);
-- retention.insertRun
insert into "retention_run" ("policy_id", "project_id", "dry", "state", "at", "started_by", "position", "looked_at", "kept", "deleted", "failed", "restored") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- retention.keepImageLabels
insert into "image_label" ("digest", "labels", "read_at") values (?, ?, ?) on conflict ("digest") do nothing;
-- retention.ofProject
select "id", "project_id" as "projectId", "name", "description", "enabled", "projects", "rules", "uncovered", "untagged_days" as "untaggedDays", "schedule", "next_at" as "nextAt", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "retention_policy" where "project_id" = ? order by "name";
-- retention.ofSystem
select "id", "project_id" as "projectId", "name", "description", "enabled", "projects", "rules", "uncovered", "untagged_days" as "untaggedDays", "schedule", "next_at" as "nextAt", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "retention_policy" where "project_id" is null order by "name";
-- retention.oldRuns
select "id" from "retention_run" where "finished_at" < ? limit ?;
-- retention.remove
delete from "retention_policy" where "id" = ?;
-- retention.results
select "id", "repository", "tag", "digest", "outcome", "reasons" from "retention_result" where "run_id" = ? and "id" > ? and (? = ? or "outcome" = ?) order by "id" limit ?;
-- retention.run
select "id", "policy_id" as "policyId", "project_id" as "projectId", "dry", "state", "at", "started_by" as "startedBy", "job_id" as "jobId", "position", "looked_at" as "lookedAt", "kept", "deleted", "failed", "restored", "undo", "error", "finished_at" as "finishedAt" from "retention_run" where "id" = ?;
-- retention.runs
select "id", "policy_id" as "policyId", "project_id" as "projectId", "dry", "state", "at", "started_by" as "startedBy", "job_id" as "jobId", "position", "looked_at" as "lookedAt", "kept", "deleted", "failed", "restored", "undo", "error", "finished_at" as "finishedAt" from "retention_run" where "policy_id" = ? and "id" > ? order by "id" asc limit ?;
-- retention.runsDown
select "id", "policy_id" as "policyId", "project_id" as "projectId", "dry", "state", "at", "started_by" as "startedBy", "job_id" as "jobId", "position", "looked_at" as "lookedAt", "kept", "deleted", "failed", "restored", "undo", "error", "finished_at" as "finishedAt" from "retention_run" where "policy_id" = ? and "id" < ? order by "id" desc limit ?;
-- retention.runsUnderWay
select "id", "policy_id" as "policyId", "project_id" as "projectId", "dry", "state", "at", "started_by" as "startedBy", "job_id" as "jobId", "position", "looked_at" as "lookedAt", "kept", "deleted", "failed", "restored", "undo", "error", "finished_at" as "finishedAt" from "retention_run" where "state" in (?, ?) limit ?;
-- retention.setJob
update "retention_run" set "job_id" = ? where "id" = ?;
-- retention.setNext
update "retention_policy" set "next_at" = ? where "id" = ?;
-- retention.setState
update "retention_run" set "state" = ?, "error" = ?, "finished_at" = ? where "id" = ?;
-- retention.setUndo
update "retention_run" set "undo" = ?, "error" = ?, "restored" = "restored" + ? where "id" = ?;
-- retention.setUse
insert into "manifest_use" ("repository_id", "digest", "source", "seen_at", "expires_at") values (?, ?, ?, ?, ?) on conflict ("repository_id", "digest", "source") do update set "seen_at" = "excluded"."seen_at", "expires_at" = "excluded"."expires_at";
-- retention.unfinishedRun
select "id" from "retention_run" where "policy_id" = ? and "dry" = ? and ("state" in (?, ?) or "undo" in (?, ?)) limit ?;
-- retention.update
update "retention_policy" set "name" = ?, "description" = ?, "enabled" = ?, "projects" = ?, "rules" = ?, "uncovered" = ?, "untagged_days" = ?, "schedule" = ?, "next_at" = ?, "version" = "version" + ? where "id" = ?;
-- retention.usedBy
select "source" from "manifest_use" where "repository_id" = ? and "digest" = ? and "seen_at" > ? and ("expires_at" is null or "expires_at" > ?) order by "seen_at" desc limit ?;
-- retention.usesAfter
select "source", "digest", "seen_at" as "seenAt", "expires_at" as "expiresAt" from "manifest_use" where "repository_id" = ? and "source" >= ? and ("source" > ? or "digest" > ?) order by "source", "digest" limit ?;
-- tiers.accessDay
select "halvings" from "access_day" where "day" = ?;
-- tiers.accessDays
select "day", "halvings" from "access_day" where "day" >= ? order by "day" limit ?;
-- tiers.addBlobAccess
insert into "blob_access" ("day", "blob_id", "reads", "bytes", "pulls") values (?, ?, ?, ?, ?) on conflict ("day", "blob_id") do update set "reads" = "blob_access"."reads" + "excluded"."reads", "bytes" = "blob_access"."bytes" + "excluded"."bytes";
-- tiers.blobAccessOf
select "blob_id" as "id", "reads", "bytes", "pulls" from "blob_access" where "day" = ? and "blob_id" > ? order by "blob_id" limit ?;
-- tiers.blobHeat
select "id", "score", "read_score" as "readScore" from "blob_heat" where "digest" = ?;
-- tiers.coldestBlobs
select "heat"."id", "heat"."digest", "heat"."score", "heat"."read_at" as "readAt", "stored"."size", "stored"."state", "stored"."stored_at" as "storedAt", "place"."tier", "place"."since" from "blob_heat" as "heat" left join "stored_blob" as "stored" on "stored"."digest" = "heat"."digest" left join "blob_tier" as "place" on "place"."digest" = "heat"."digest" where "heat"."score" >= ? and ("heat"."score" > ? or "heat"."id" > ?) order by "heat"."score" asc, "heat"."id" asc limit ?;
-- tiers.coldestImages
select "image"."id", "heat"."digest", "heat"."score", "heat"."pulled_at" as "pulledAt", "image"."content_size" as "size" from "image_heat" as "heat" inner join "manifest" as "image" on "image"."repository_id" = "heat"."repository_id" and "image"."digest" = "heat"."digest" where "heat"."repository_id" = ? and "heat"."score" >= ? and ("heat"."score" > ? or "heat"."digest" > ?) order by "heat"."score" asc, "heat"."digest" asc limit ?;
-- tiers.countBlobAccess
select count(*) as "rows" from (select "blob_id" from "blob_access" where "day" = ? limit ?) as "of_day";
-- tiers.deleteTierPin
delete from "tier_pin" where "project_id" = ? and "repository_id" = ?;
-- tiers.dropBlobAccess
delete from "blob_access" where "day" = ? and "blob_id" in (select "access"."blob_id" from "blob_access" as "access" inner join "blob_heat" as "heat" on "heat"."id" = "access"."blob_id" where "access"."day" = ? and substr("heat"."digest", 8, 4) >= ? limit ?);
-- tiers.dropOldAccess
delete from "blob_access" where "day" = (select min("first"."day") as "day" from "blob_access" as "first") and "blob_id" in (select "old"."blob_id" from "blob_access" as "old" where "old"."day" = (select min("first"."day") as "day" from "blob_access" as "first") and "old"."day" < ? order by "old"."blob_id" limit ?);
-- tiers.dropOldAccessDays
delete from "access_day" where "day" < ?;
-- tiers.heatClock
select "half_life_ms" as "halfLifeMs", "at", "value" from "heat_clock" where "id" = ?;
-- tiers.hottestBlobs
select "heat"."id", "heat"."digest", "heat"."score", "heat"."read_at" as "readAt", "stored"."size", "stored"."state", "stored"."stored_at" as "storedAt", "place"."tier", "place"."since" from "blob_heat" as "heat" left join "stored_blob" as "stored" on "stored"."digest" = "heat"."digest" left join "blob_tier" as "place" on "place"."digest" = "heat"."digest" where "heat"."score" <= ? and ("heat"."score" < ? or "heat"."id" < ?) order by "heat"."score" desc, "heat"."id" desc limit ?;
-- tiers.hottestImages
select "image"."id", "heat"."digest", "heat"."score", "heat"."pulled_at" as "pulledAt", "image"."content_size" as "size" from "image_heat" as "heat" inner join "manifest" as "image" on "image"."repository_id" = "heat"."repository_id" and "image"."digest" = "heat"."digest" where "heat"."repository_id" = ? and "heat"."score" <= ? and ("heat"."score" < ? or "heat"."digest" < ?) order by "heat"."score" desc, "heat"."digest" desc limit ?;
-- tiers.imageHeat
select "score", "pulled_at" as "pulledAt", "day", "day_pulls" as "dayPulls" from "image_heat" where "repository_id" = ? and "digest" = ?;
-- tiers.imagesByAge
select "image"."id", "image"."digest", "heat"."score", "heat"."pulled_at" as "pulledAt", "image"."content_size" as "size" from "manifest" as "image" left join "image_heat" as "heat" on "heat"."repository_id" = "image"."repository_id" and "heat"."digest" = "image"."digest" where "image"."repository_id" = ? and "image"."id" > ? order by "image"."id" limit ?;
-- tiers.insertTierPin
insert into "tier_pin" ("project_id", "repository_id", "created_at", "created_by") values (?, ?, ?, ?) on conflict ("project_id", "repository_id") do nothing;
-- tiers.insertTierRun
insert into "tier_run" ("started_by", "started_at", "finished_at", "hot_before", "hot_after", "demoted", "demoted_bytes", "promoted", "promoted_bytes", "failed", "reasons", "error") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- tiers.linkElsewhere
select "repository_id" from "repository_blob" where "digest" = ? and "repository_id" != ? limit ?;
-- tiers.needersOfBlob
select "manifest_id" from "manifest_reference" where "repository_id" = ? and "digest" = ? and "kind" = ? limit ?;
-- tiers.newestAccessDay
select "halvings" from "access_day" order by "day" desc limit ?;
-- tiers.pinnedRepositories
select distinct "repository"."id" from "tier_pin" as "pin" inner join "repository" on "repository"."project_id" = "pin"."project_id" where "repository"."deleted_at" is null and "repository"."id" > ? and ("pin"."repository_id" = ? or "pin"."repository_id" = "repository"."id") order by "repository"."id" limit ?;
-- tiers.saveAccessDay
insert into "access_day" ("day", "halvings") values (?, ?) on conflict ("day") do update set "halvings" = "excluded"."halvings";
-- tiers.saveBlobReads
insert into "blob_heat" ("digest", "score", "read_score", "read_at") values (?, ?, ?, ?) on conflict ("digest") do update set "score" = "excluded"."score", "read_score" = "excluded"."read_score", "read_at" = "excluded"."read_at" returning "id";
-- tiers.saveHeatClock
insert into "heat_clock" ("id", "half_life_ms", "at", "value") values (?, ?, ?, ?) on conflict ("id") do update set "half_life_ms" = "excluded"."half_life_ms", "at" = "excluded"."at", "value" = "excluded"."value";
-- tiers.saveImageHeat
insert into "image_heat" ("repository_id", "digest", "score", "pulled_at", "day", "day_pulls") values (?, ?, ?, ?, ?, ?) on conflict ("repository_id", "digest") do update set "score" = "excluded"."score", "pulled_at" = "excluded"."pulled_at", "day" = "excluded"."day", "day_pulls" = "excluded"."day_pulls";
-- tiers.saveTierState
insert into "tier_state" ("id", "counted_at", "hot_blobs", "hot_bytes", "small_blobs", "small_bytes", "cold_blobs", "cold_bytes", "archived_blobs", "archived_bytes") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("id") do update set "counted_at" = "excluded"."counted_at", "hot_blobs" = "excluded"."hot_blobs", "hot_bytes" = "excluded"."hot_bytes", "small_blobs" = "excluded"."small_blobs", "small_bytes" = "excluded"."small_bytes", "cold_blobs" = "excluded"."cold_blobs", "cold_bytes" = "excluded"."cold_bytes", "archived_blobs" = "excluded"."archived_blobs", "archived_bytes" = "excluded"."archived_bytes";
-- tiers.seedBlobHeat
insert into "blob_heat" ("digest", "score") values (?, ?) on conflict ("digest") do nothing;
-- tiers.someTierPin
select "project_id" from "tier_pin" limit ?;
-- tiers.surveyBlobs
select "stored"."digest", "stored"."size", "stored"."state", "stored"."stored_at" as "storedAt", "heat"."id" as "heatId", "heat"."score", "place"."tier", "place"."since", "place"."leftover" from "stored_blob" as "stored" left join "blob_heat" as "heat" on "heat"."digest" = "stored"."digest" left join "blob_tier" as "place" on "place"."digest" = "stored"."digest" where "stored"."digest" > ? order by "stored"."digest" limit ?;
-- tiers.tierOfLink
select "link"."digest", "link"."size", "place"."tier", "place"."since" from "repository_blob" as "link" left join "blob_tier" as "place" on "place"."digest" = "link"."digest" where "link"."repository_id" = ? and "link"."digest" = ?;
-- tiers.tierPinOfBlob
select "pin"."project_id" from "repository_blob" as "link" inner join "repository" on "repository"."id" = "link"."repository_id" inner join "tier_pin" as "pin" on "pin"."project_id" = "repository"."project_id" where "link"."digest" = ? and "repository"."deleted_at" is null and ("pin"."repository_id" = ? or "pin"."repository_id" = "repository"."id") limit ?;
-- tiers.tierPins
select "pin"."project_id" as "projectId", "pin"."repository_id" as "repositoryId", "project"."name" as "project", "repository"."name" as "repository", "repository"."deleted_at" as "deletedAt", "pin"."created_at" as "createdAt", "pin"."created_by" as "createdBy" from "tier_pin" as "pin" inner join "project" on "project"."id" = "pin"."project_id" left join "repository" on "repository"."id" = "pin"."repository_id" where "pin"."project_id" >= ? and ("pin"."project_id" > ? or "pin"."repository_id" > ?) order by "pin"."project_id", "pin"."repository_id" limit ?;
-- tiers.tierPinsOf
select "repository_id" as "repositoryId", "created_at" as "createdAt", "created_by" as "createdBy" from "tier_pin" where "project_id" = ? and ("repository_id" = ? or "repository_id" = ?) order by "repository_id";
-- tiers.tierRuns
select "id", "started_by" as "startedBy", "started_at" as "startedAt", "finished_at" as "finishedAt", "demoted", "promoted", "failed", "demoted_bytes" as "demotedBytes", "promoted_bytes" as "promotedBytes", "reasons", "error", "hot_before" as "hotBefore", "hot_after" as "hotAfter" from "tier_run" where "id" > ? order by "id" asc limit ?;
-- tiers.tierRunsDown
select "id", "started_by" as "startedBy", "started_at" as "startedAt", "finished_at" as "finishedAt", "demoted", "promoted", "failed", "demoted_bytes" as "demotedBytes", "promoted_bytes" as "promotedBytes", "reasons", "error", "hot_before" as "hotBefore", "hot_after" as "hotAfter" from "tier_run" where "id" < ? order by "id" desc limit ?;
-- tiers.tierState
select "counted_at", "hot_blobs", "hot_bytes", "small_blobs", "small_bytes", "cold_blobs", "cold_bytes", "archived_blobs", "archived_bytes" from "tier_state" where "id" = ?;
-- tiers.tiersOfRepository
select "link"."digest", "link"."size", "place"."tier", "place"."since" from "repository_blob" as "link" left join "blob_tier" as "place" on "place"."digest" = "link"."digest" where "link"."repository_id" = ? and "link"."digest" > ? order by "link"."digest" limit ?;
-- tiers.touchBlobs
insert into "blob_access" ("day", "blob_id", "reads", "bytes", "pulls") select cast(? as bigint) as "day", "heat"."id", 0 as "reads", 0 as "bytes", cast(? as bigint) as "pulls" from "manifest_reference" as "part" inner join "blob_heat" as "heat" on "heat"."digest" = "part"."digest" inner join "stored_blob" as "stored" on "stored"."digest" = "part"."digest" where "part"."manifest_id" = ? and "part"."kind" = ? and "stored"."size" >= ? and substr("part"."digest", 8, 4) < ? order by "part"."digest" on conflict ("day", "blob_id") do update set "pulls" = "excluded"."pulls" where "blob_access"."pulls" < "excluded"."pulls";
-- tiers.updateTierRun
update "tier_run" set "finished_at" = ?, "demoted" = ?, "demoted_bytes" = ?, "promoted" = ?, "promoted_bytes" = ?, "failed" = ?, "reasons" = ?, "hot_after" = ?, "error" = ? where "id" = ?;
-- tiers.warmBlobs
insert into "blob_heat" ("digest", "score") select "part"."digest", cast(? as double precision) as "score" from "manifest_reference" as "part" inner join "stored_blob" as "stored" on "stored"."digest" = "part"."digest" where "part"."manifest_id" = ? and "part"."kind" = ? and "stored"."size" >= ? order by "part"."digest" on conflict ("digest") do update set "score" = "excluded"."score" where "blob_heat"."score" < "excluded"."score";
-- webhooks.anyDue
select "id" from "webhook_delivery" where "next_at" <= ? limit ?;
-- webhooks.byId
select "id", "project_id" as "projectId", "name", "url", "format", "events", "repositories", "tags", "secrets", "enabled", "listens_from" as "listensFrom", "failing_since" as "failingSince", "last_success_at" as "lastSuccessAt", "disabled_reason" as "disabledReason", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "webhook" where "id" = ?;
-- webhooks.byIdIn
select "id", "project_id" as "projectId", "name", "url", "format", "events", "repositories", "tags", "secrets", "enabled", "listens_from" as "listensFrom", "failing_since" as "failingSince", "last_success_at" as "lastSuccessAt", "disabled_reason" as "disabledReason", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "webhook" where "id" = ? and coalesce("project_id", 0) = ?;
-- webhooks.deliveries
select "id", "webhook_id" as "webhookId", "event_id" as "eventId", "repetition", "event", "format", "state", "attempts", "next_at" as "nextAt", "status", "duration_ms" as "durationMs", "error", "created_at" as "createdAt", "attempted_at" as "attemptedAt" from "webhook_delivery" where "webhook_id" = ? and "id" > ? and (? = ? or "state" = ?) and (? = ? or "event" = ?) order by "id" asc limit ?;
-- webhooks.deliveriesDown
select "id", "webhook_id" as "webhookId", "event_id" as "eventId", "repetition", "event", "format", "state", "attempts", "next_at" as "nextAt", "status", "duration_ms" as "durationMs", "error", "created_at" as "createdAt", "attempted_at" as "attemptedAt" from "webhook_delivery" where "webhook_id" = ? and "id" < ? and (? = ? or "state" = ?) and (? = ? or "event" = ?) order by "id" desc limit ?;
-- webhooks.delivery
select "id", "webhook_id" as "webhookId", "event_id" as "eventId", "repetition", "event", "format", "state", "attempts", "next_at" as "nextAt", "status", "duration_ms" as "durationMs", "error", "created_at" as "createdAt", "attempted_at" as "attemptedAt", "body" from "webhook_delivery" where "id" = ? and "webhook_id" = ?;
-- webhooks.disable
update "webhook" set "enabled" = ?, "disabled_reason" = ?, "version" = "version" + ? where "id" = ? and "enabled" = ?;
-- webhooks.dueOfWebhook
select "id", "webhook_id" as "webhookId", "event_id" as "eventId", "repetition", "event", "format", "state", "attempts", "next_at" as "nextAt", "status", "duration_ms" as "durationMs", "error", "created_at" as "createdAt", "attempted_at" as "attemptedAt", "body" from "webhook_delivery" where "webhook_id" = ? and "next_at" <= ? order by "next_at", "id" limit ?;
-- webhooks.dueWebhooks
select distinct "webhook_id" as "webhookId" from "webhook_delivery" where "next_at" <= ? order by "webhook_id" limit ?;
-- webhooks.giveUpWaiting
update "webhook_delivery" set "state" = ?, "next_at" = ?, "error" = ? where "webhook_id" = ? and "state" = ?;
-- webhooks.hastenWaiting
update "webhook_delivery" set "next_at" = ? where "webhook_id" = ? and "state" = ? and "next_at" > ?;
-- webhooks.heardBy
select "id", "project_id" as "projectId", "name", "url", "format", "events", "repositories", "tags", "secrets", "enabled", "listens_from" as "listensFrom", "failing_since" as "failingSince", "last_success_at" as "lastSuccessAt", "disabled_reason" as "disabledReason", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "webhook" where "enabled" = ? and ("project_id" is null or "project_id" = ?);
-- webhooks.hearingPulls
select distinct "project_id" as "projectId" from "webhook" where "hears_pulls" = ? and "enabled" = ?;
-- webhooks.insert
insert into "webhook" ("project_id", "name", "url", "format", "events", "repositories", "tags", "secrets", "enabled", "hears_pulls", "listens_from", "created_at", "created_by", "version") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning "id";
-- webhooks.insertDelivery
insert into "webhook_delivery" ("webhook_id", "event_id", "repetition", "event", "format", "body", "state", "attempts", "next_at", "created_at") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict ("webhook_id", "event_id", "repetition") do nothing returning "id";
-- webhooks.lastRepetition
select "repetition" from "webhook_delivery" where "webhook_id" = ? and "event_id" = ? order by "repetition" desc limit ?;
-- webhooks.markFailure
update "webhook" set "failing_since" = coalesce("failing_since", ?) where "id" = ? returning "failing_since" as "failingSince";
-- webhooks.markSuccess
update "webhook" set "failing_since" = ?, "last_success_at" = ? where "id" = ?;
-- webhooks.nthNewest
select "id" from "webhook_delivery" where "webhook_id" = ? order by "id" desc limit ? offset ?;
-- webhooks.ofProject
select "id", "project_id" as "projectId", "name", "url", "format", "events", "repositories", "tags", "secrets", "enabled", "listens_from" as "listensFrom", "failing_since" as "failingSince", "last_success_at" as "lastSuccessAt", "disabled_reason" as "disabledReason", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "webhook" where "project_id" = ? order by "name";
-- webhooks.ofSystem
select "id", "project_id" as "projectId", "name", "url", "format", "events", "repositories", "tags", "secrets", "enabled", "listens_from" as "listensFrom", "failing_since" as "failingSince", "last_success_at" as "lastSuccessAt", "disabled_reason" as "disabledReason", "created_at" as "createdAt", "created_by" as "createdBy", "version" from "webhook" where "project_id" is null order by "name";
-- webhooks.projectName
select "name" from "project" where "id" = ?;
-- webhooks.pruneBeyond
delete from "webhook_delivery" where "id" in (select "old"."id" from "webhook_delivery" as "old" where "old"."webhook_id" = ? and "old"."id" <= ? and "old"."state" != ? limit ?);
-- webhooks.pruneOlder
delete from "webhook_delivery" where "id" in (select "old"."id" from "webhook_delivery" as "old" where "old"."created_at" < ? and "old"."state" != ? limit ?);
-- webhooks.remove
delete from "webhook" where "id" = ?;
-- webhooks.repositoryCreated
select "created_at" as "at" from "repository" where "name" = ?;
-- webhooks.settleAttempt
update "webhook_delivery" set "state" = ?, "attempts" = "attempts" + ?, "next_at" = ?, "status" = ?, "duration_ms" = ?, "error" = ?, "attempted_at" = ? where "id" = ? and "attempts" = ? and "state" = ?;
-- webhooks.update
update "webhook" set "name" = ?, "url" = ?, "format" = ?, "events" = ?, "repositories" = ?, "tags" = ?, "enabled" = ?, "hears_pulls" = ?, "listens_from" = ?, "failing_since" = ?, "disabled_reason" = ?, "version" = "version" + ? where "id" = ?;
-- webhooks.updateSecrets
update "webhook" set "secrets" = ?, "version" = "version" + ? where "id" = ?;
-- webhooks.webhooksWithLog
select "id" from "webhook" where "id" > ? order by "id" limit ?;
