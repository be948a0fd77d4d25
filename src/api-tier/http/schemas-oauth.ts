// Owns: the shapes of the token endpoint's answers (RFC 6749 §5).
import { Type } from 'typebox'

export const oauthTokenSchema = Type.Object(
  {
    access_token: Type.String({ description: 'A JWT (RFC 9068); send it as the bearer.' }),
    token_type: Type.Literal('Bearer'),
    expires_in: Type.Integer({ description: 'Seconds.' }),
  },
  { examples: [{ access_token: 'eyJhbGciOiJFUzI1NiJ9.…', token_type: 'Bearer', expires_in: 3600 }] },
)

export const oauthErrorSchema = Type.Object(
  {
    error: Type.String(),
    error_description: Type.Optional(Type.String()),
  },
  { examples: [{ error: 'invalid_client', error_description: 'The client is unknown or its secret is wrong.' }] },
)
