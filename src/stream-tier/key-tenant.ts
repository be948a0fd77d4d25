// Owns: the tenant that data keys are wrapped for, until topics belong to tenants (docs/roadmap.md).

export const keyTenant = 'default'
