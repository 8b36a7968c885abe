"""What somebody says of the picture is kept with its case."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the change."""
    op.add_column('cases', sa.Column('claim', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Takes the change back."""
    with op.batch_alter_table('cases') as cases:
        cases.drop_column('claim')
