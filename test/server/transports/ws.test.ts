import { transportSuite } from '../../conformance/transport.ts'
import { onWs } from '../../helpers/transports.ts'

transportSuite(onWs, { ownPort: true })
