import { transportSuite } from '../../conformance/transport.ts'
import { onUws } from '../../helpers/transports.ts'

transportSuite(onUws, { ownPort: true })
