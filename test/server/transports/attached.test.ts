import { transportSuite } from '../../conformance/transport.ts'
import { attached } from '../../helpers/transports.ts'

transportSuite(attached, { ownPort: false })
