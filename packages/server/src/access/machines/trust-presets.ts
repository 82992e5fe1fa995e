/** Issuers that many use, with what to begin from. The values in the conditions are examples. */
export const TRUST_PRESETS = [
  {
    name: 'github-actions',
    description: 'a workflow of one repository, on its main branch; the workflow needs the permission id-token: write',
    issuer: 'https://token.actions.githubusercontent.com',
    condition: 'claims.repository == "octo-org/app" && claims.repository_owner_id == "65" && claims.ref == "refs/heads/main"',
  },
  {
    name: 'github-actions-environment',
    description: 'a job that a deployment environment lets pass, with its reviewers',
    issuer: 'https://token.actions.githubusercontent.com',
    condition: 'claims.repository == "octo-org/app" && claims.repository_owner_id == "65" && claims.environment == "production"',
  },
  {
    name: 'gitlab',
    description: 'a pipeline of one project, on a protected branch; the issuer is the address of the GitLab',
    issuer: 'https://gitlab.com',
    condition: 'claims.project_path == "group/app" && claims.ref_protected == "true" && claims.ref_type == "branch"',
  },
  {
    name: 'kubernetes',
    description: "a service account of a cluster; the issuer is the cluster's, and its keys are uploaded where it cannot be reached",
    issuer: 'https://kubernetes.default.svc.cluster.local',
    condition: 'claims["kubernetes.io"].namespace == "ci" && claims["kubernetes.io"].serviceaccount.name == "builder"',
  },
] as const;
